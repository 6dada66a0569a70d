// Package inspect says why a token is accepted or refused, and what its requests get: by the
// server's own code, for the command line and the page.
package inspect

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"scopeward/authz"
	"scopeward/authz/token"
	"scopeward/authz/token/discovery"
	"scopeward/authz/token/jwks"
	"scopeward/internal/config"
	"scopeward/internal/providers"
	"scopeward/policy"
	"scopeward/policy/explain"
)

// What inspect finds out about a token.
const (
	Accepted = "accepted"
	Refused  = "refused"
	Unknown  = "unknown" // its provider can't be asked, or nobody said whose tokens count
)

// Inspection is what inspect shows, in the form of --output json.
type Inspection struct {
	Verdict    string               `json:"verdict"`
	Reason     string               `json:"reason,omitempty"`
	Notes      []string             `json:"notes,omitempty"`
	Provider   string               `json:"provider,omitempty"`
	Header     map[string]any       `json:"header,omitempty"`
	Claims     map[string]any       `json:"claims,omitempty"`
	Unreadable []string             `json:"unreadable,omitempty"` // parts, and why
	Dates      map[string]time.Time `json:"dates,omitempty"`
	Checks     []Check              `json:"checks"`
	Identity   *Identity            `json:"identity,omitempty"`
	Bound      string               `json:"bound,omitempty"` // dpop, mtls or dpop+mtls
	Request    *explain.Explanation `json:"request,omitempty"`

	err      error
	identity *token.Identity
}

type Check struct {
	Name   string `json:"name"`
	State  string `json:"state"` // passed, failed or unknown
	Text   string `json:"text"`  // what is checked, in words
	Detail string `json:"detail,omitempty"`
	Advice string `json:"advice,omitempty"`
}

type Identity struct {
	Subject  string   `json:"subject,omitempty"`
	ClientID string   `json:"client_id,omitempty"`
	Email    string   `json:"email,omitempty"`
	Scopes   []string `json:"scopes"`
}

// Inspector diagnoses tokens as the server of a configuration would.
type Inspector struct {
	config    *config.Config
	validator *token.Validator
	policy    *policy.Set // nil without --request or a policy
	revoked   *token.Revoked
	assumed   bool // nobody said whose tokens count: the token's own word is taken
	notes     []string
}

// Options say whose tokens count.
type Options struct {
	config.Options
	JWKS      string   // a file with the provider's keys, or the URL of them
	Issuer    string   // instead of a configuration
	Audiences []string // with Issuer
}

// New makes an Inspector. Without a configuration and an issuer, the word of the token
// counts for whose it is.
func New(o Options, raw string) (*Inspector, error) {
	i := &Inspector{config: config.Default()}
	var err error
	switch {
	case o.File != "":
		err = i.fromFiles(o)
	case o.Issuer != "":
		i.config = config.ForIssuer("provider", o.Issuer, o.Audiences)
		err = i.validators(o)
	default:
		i.assume(o, raw)
	}
	if err == nil && i.policy == nil && len(o.Policy) > 0 {
		i.policy, err = policy.Load(o.Policy...)
	}
	return i, err
}

// With makes an Inspector of what a running service decides by.
func With(c *config.Config, v *token.Validator, p *policy.Set) *Inspector {
	return &Inspector{config: c, validator: v, policy: p}
}

// fromFiles reads configuration and policy as serve does.
func (i *Inspector) fromFiles(o Options) error {
	f, err := config.LoadRules(o.Options)
	if err != nil {
		return err
	}
	i.config, i.policy, i.revoked = f.Config, f.Policy, f.Revoked.List
	return i.validators(o)
}

// validators makes the server's own, with the keys of a file if there is one.
func (i *Inspector) validators(o Options) error {
	if o.JWKS != "" {
		url, name, err := o.keys()
		if err != nil {
			return err
		}
		for n := range i.config.Providers {
			i.config.Providers[n].JWKS.File, i.config.Providers[n].JWKS.URLs = name, nil
			if url != "" {
				i.config.Providers[n].JWKS.URLs = []string{url}
			}
		}
	}
	var list []token.Provider
	for _, p := range providers.New(i.config, slog.New(slog.DiscardHandler), nil, nil) {
		list = append(list, p.Provider)
	}
	i.validator = token.NewValidator(token.Options{Providers: list, Revoked: i.revoked})
	return nil
}

// keys are where --jwks says: a URL or a file.
func (o Options) keys() (url, file string, err error) {
	if IsURL(o.JWKS) {
		return o.JWKS, "", discovery.CheckEndpoint(o.JWKS, o.JWKS, false)
	}
	file, err = filepath.Abs(o.JWKS)
	return "", file, err
}

// IsURL reports whether --jwks names a URL, not a file.
func IsURL(name string) bool {
	return strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://")
}

// assume takes the token's own word for whose it is. Its issuer is not asked for keys: it
// may be anybody's address.
func (i *Inspector) assume(o Options, raw string) {
	i.assumed = true
	i.notes = append(i.notes, "nobody said whose tokens count, so issuer and audience are NOT CHECKED: give --config scopeward.yaml, or --issuer and --audience")
	var issuer string
	if t, err := token.ParseJWT(raw); err == nil {
		issuer = t.Claims.Text("iss")
	}
	rules := token.Rules{Issuer: issuer, AnyAudience: true, ClockSkew: 30 * time.Second}
	p := token.Provider{Issuer: issuer, Verifier: unverified{rules}}
	if o.JWKS != "" {
		url, name, _ := o.keys()
		p.Verifier = &jwks.Verifier{Keys: jwks.New(jwks.Options{URL: url, File: name}), Rules: rules, Algorithms: config.Asymmetric}
	}
	i.validator = token.NewValidator(token.Options{Providers: []token.Provider{p}})
}

// unverified holds claims against rules, and vouches for nothing.
type unverified struct{ rules token.Rules }

func (unverified) Verify(context.Context, *token.Token) (*token.Identity, error) {
	return nil, &token.UnavailableError{Reason: "there are no keys to check the signature with: give --config scopeward.yaml, or --jwks FILE"}
}

// Diagnose implements [token.Diagnoser].
func (u unverified) Diagnose(ctx context.Context, given *token.Token) []token.Check {
	t, err := given.JWT()
	if err != nil {
		return nil
	}
	_, unable := u.Verify(ctx, given)
	return append(u.rules.Diagnose(t.Claims), token.Check{Name: token.CheckSignature, Err: unable})
}

// Inspect finds out all about a token.
func (i *Inspector) Inspect(ctx context.Context, raw string) Inspection {
	if _, _, err := token.FromAuthorization("Bearer "+raw, i.validator.MaxBytes()); err != nil {
		return Inspection{Verdict: Refused, Reason: reason(err), Notes: i.notes, err: err, Checks: []Check{
			{Name: "credential", State: "failed", Text: textOfCheck("credential"), Detail: reason(err), Advice: "copy the access token again, alone and whole"}}}
	}
	d := i.validator.Diagnose(ctx, raw)
	found := Inspection{
		Notes: i.notes, Provider: d.Provider, Header: d.Header, Claims: d.Claims, Dates: dates(d.Claims), err: d.Err, identity: d.Identity,
		Checks: []Check{{Name: "credential", State: "passed", Text: textOfCheck("credential")}},
	}
	for _, err := range []error{d.HeaderErr, d.ClaimsErr} {
		if err != nil {
			found.Unreadable = append(found.Unreadable, reason(err))
		}
	}
	a := adviser{diagnosis: d, config: i.config, now: time.Now()}
	for _, c := range d.Checks {
		if i.assumed && (c.Name == token.CheckProvider || c.Name == token.CheckIssuer || c.Name == token.CheckAudience || c.Name == token.CheckSetup) {
			continue
		}
		found.Checks = append(found.Checks, a.check(c))
	}
	found.decide(i.assumed)
	if id := d.Identity; id != nil {
		found.Bound = id.Bound.String()
		if id.Bound != nil {
			found.Notes = append(found.Notes, boundNote(*id.Bound))
		}
		found.Identity = &Identity{id.Subject, id.ClientID, id.Email, append([]string{}, id.Scopes...)}
	}
	return found
}

// boundNote says what must come with a bound token, which nothing here can show.
func boundNote(b token.Binding) string {
	var needs []string
	if b.Key != "" {
		needs = append(needs, "as Authorization: DPoP, with a proof by the key whose thumbprint is "+b.Key+" in the header DPoP")
	}
	if b.Certificate != "" {
		needs = append(needs, "in a connection with the client certificate whose SHA-256 is "+b.Certificate)
	}
	return "it is bound to its client: each request must send it " + strings.Join(needs, ", and ")
}

// decide is the server's verdict, never that of the checks as they are shown.
func (found *Inspection) decide(assumed bool) {
	var invalid *token.InvalidError
	switch {
	case errors.As(found.err, &invalid):
		found.Verdict = Refused
	case found.err != nil || assumed:
		found.Verdict = Unknown
	default:
		found.Verdict = Accepted
	}
	if found.err != nil {
		found.Reason = reason(found.err)
	}
	for _, c := range found.Checks { // of a token whose provider can't be asked
		if found.Verdict == Unknown && c.State == "failed" {
			found.Verdict, found.Reason = Refused, c.Detail
		}
	}
}

// reason is an error of a token in words that go on after "the token is refused:".
func reason(err error) string {
	var invalid *token.InvalidError
	var malformed *token.MalformedError
	switch {
	case errors.As(err, &invalid):
		return invalid.Reason
	case errors.As(err, &malformed):
		return malformed.Reason
	}
	return err.Error()
}

// Ask goes on to the policy, with a request such as "GET /users".
func (i *Inspector) Ask(found *Inspection, request string) error {
	method, target, ok := strings.Cut(strings.TrimSpace(request), " ")
	q := explain.Question{Method: method}
	if ok {
		q.Host, q.Target, ok = policy.SplitURL(strings.TrimSpace(target))
	}
	if !ok {
		return errors.New(`--request is a method and a path or URL: --request "GET /users"`)
	}
	i.Decide(found, q, Presented{})
	return nil
}

// Decide asks the policy about a request with the token, which it may have presented itself.
func (i *Inspector) Decide(found *Inspection, q explain.Question, p Presented) {
	q.Token = policy.TokenInvalid
	if id := found.identity; id != nil {
		q.Token, q.Identity = policy.TokenValid, &policy.Identity{
			Subject: id.Subject, Email: id.Email, ClientID: id.ClientID, Issuer: id.Issuer, Provider: id.Provider, Scopes: id.Scopes, Claims: id.Claims(),
		}
	} else {
		q.TokenFault = found.Reason
	}
	e, out := p.Explain(i.policy, q, i.config)
	if e.Code == explain.InvalidToken {
		e.Response = respond(i.config, q, out.Match, policy.Decision{}, found.err)
		e.Code = authz.CodeOf(found.err)
	}
	found.Request = &e
}

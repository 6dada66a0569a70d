package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"scopeward/internal/strictyaml"
)

// Token is what a request of a test brings to show who it is.
type Token string

const (
	TokenNone    Token = "none"
	TokenInvalid Token = "invalid"
	TokenExpired Token = "expired"
	TokenValid   Token = "valid"
)

// Test is a test that is written in a policy file, read only: a request and the
// answer that it must get. Package policytest runs it.
type Test struct {
	Policy   string // the name of the policy that is asked; empty: the default
	Request  string // as written
	Method   string
	Host     string            // as written, with its port; empty if the request has none
	Target   string            // the raw path with its query
	Headers  map[string]string // by lower-case name
	Peer     Peer
	Sent     string // the body of the request; empty: none
	Token    Token
	Identity *Identity      // who the token speaks for; nil unless Token is TokenValid
	LoggedIn *time.Duration // how long before the test they have signed in; nil: as the claims say
	Expect   string         // allow, or the code of a denial
	Rule     string         // the name or a pattern of the rule that must match; may be empty
	Status   int            // of the denial; 0 for any
	Body     string         // what the denial's contains
	Pos      strictyaml.Pos
}

// Tests gives the tests of all files in the order in which they are written.
func (s *Set) Tests() []*Test { return s.tests }

// testCase reads a test and holds it to what a request and a token can be.
func (p *parser) testCase(in strictyaml.Located[testCaseYAML], policy string) *Test {
	y := in.Value
	t := &Test{Policy: policy, Request: y.Request.Value, Token: Token(y.Token.Value), Expect: y.Expect, Rule: y.Rule.Value, Status: y.Status.Value, Body: y.Body.Value, Pos: in.Pos}
	if y.Request.Pos.Line != 0 {
		var ok bool
		if t.Method, t.Host, t.Target, ok = splitTestRequest(y.Request.Value); !ok {
			p.problem(y.Request.Pos, "request %q must be METHOD /path or METHOD https://host/path", y.Request.Value)
		}
	}
	t.Headers = p.testHeaders(y.Headers)
	t.Peer = Peer{Principal: y.Peer.Principal, Address: y.Peer.Address}
	t.Sent = p.testBody(y.Sent)
	if pos := y.Status.Pos; pos.Line != 0 && (t.Status < 300 || t.Status > 599) {
		p.problem(pos, "expect_status is %d: the status of a denial lies between 300 and 599", t.Status)
	}
	for name, pos := range map[string]strictyaml.Pos{"expect_status": y.Status.Pos, "expect_body": y.Body.Pos} {
		if pos.Line != 0 && t.Expect == "allow" {
			p.problem(pos, "%s has no effect with expect: allow: the upstream answers", name)
		}
	}
	var scopes []string
	if y.Scopes.Pos.Line != 0 {
		if scopes = []string{}; len(y.Scopes.Value) > 0 { // a token may have no scope
			scopes = p.scopes("scopes", y.Scopes)
		}
		if y.Token.Pos.Line != 0 {
			p.problem(y.Scopes.Pos, "a test with token: %s cannot have scopes", y.Token.Value)
		}
	}
	if y.Claims.Pos.Line != 0 && y.Token.Pos.Line != 0 {
		p.problem(y.Claims.Pos, "a test with token: %s cannot have claims", y.Token.Value)
	}
	t.LoggedIn = p.loggedIn(y)
	switch {
	case y.Token.Pos.Line != 0:
	case y.Scopes.Pos.Line == 0 && y.Claims.Pos.Line == 0 && t.LoggedIn == nil:
		t.Token = TokenNone
	default:
		var err error
		t.Token = TokenValid
		if t.Identity, err = NewIdentity(scopes, y.Claims.Value); err != nil {
			p.problem(y.Claims.Pos, "no valid token has these claims: %v", err)
		}
	}
	return t
}

// testBody gives a body as it is written, or the JSON of what is no text.
func (p *parser) testBody(in strictyaml.Located[any]) string {
	text, isText := in.Value.(string)
	if in.Value == nil || isText {
		return text
	}
	data, err := json.Marshal(in.Value)
	if err != nil {
		p.problem(in.Pos, "body is no JSON: %v", err)
	}
	return string(data)
}

// loggedIn reads how long ago the user of a test has signed in.
func (p *parser) loggedIn(y testCaseYAML) *time.Duration {
	in := y.LoggedIn
	_, claimed := y.Claims.Value["auth_time"]
	switch {
	case in.Pos.Line == 0:
		return nil
	case y.Token.Pos.Line != 0:
		p.problem(in.Pos, "a test with token: %s cannot have logged_in", y.Token.Value)
	case claimed:
		p.problem(in.Pos, "logged_in and the claim auth_time say the same: remove one of them")
	case in.Value%time.Second != 0:
		p.problem(in.Pos, "logged_in must be whole seconds")
	}
	return &in.Value
}

// IdentityAt gives who the token speaks for if the test is run at a time.
func (t *Test) IdentityAt(now time.Time) *Identity {
	if t.Identity == nil || t.LoggedIn == nil {
		return t.Identity
	}
	id := *t.Identity
	id.Claims = maps.Clone(id.Claims)
	if id.Claims == nil {
		id.Claims = map[string]any{}
	}
	id.Claims["auth_time"] = now.Add(-*t.LoggedIn).Unix()
	return &id
}

func (p *parser) testHeaders(in strictyaml.Located[map[string]string]) map[string]string {
	headers := make(map[string]string, len(in.Value))
	for _, name := range slices.Sorted(maps.Keys(in.Value)) {
		lower := strings.ToLower(name)
		_, repeated := headers[lower]
		switch {
		case !isToken(name):
			p.problem(in.Pos, "%q is not the name of a header", name)
		case lower == "authorization":
			p.problem(in.Pos, "conditions never see the header authorization: describe its token by scopes, claims or token")
		case strings.TrimSpace(in.Value[name]) != in.Value[name] || strings.ContainsAny(in.Value[name], "\r\n\x00"):
			p.problem(in.Pos, "header %s has line breaks, or white space at its ends, with which no request brings it", lower)
		case repeated:
			p.problem(in.Pos, "header %s is repeated: names of headers are compared without case", lower)
		}
		headers[lower] = in.Value[name]
	}
	return headers
}

func splitTestRequest(s string) (method, host, target string, ok bool) {
	method, rest, ok := strings.Cut(s, " ")
	if !ok || !isToken(method) || strings.TrimSpace(rest) != rest {
		return "", "", "", false
	}
	host, target, ok = SplitURL(rest)
	return method, host, target, ok
}

// SplitURL gives the host and the raw target of a URL or of a path, as a client
// that changes nothing of it would send them: NewRequest is to see what is wrong
// with it. It reports false for what is neither `http(s)://host...` nor `/...`.
func SplitURL(s string) (host, target string, ok bool) {
	if strings.HasPrefix(s, "/") {
		return "", s, true
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", "", false
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, target = rest[:end], rest[end:]
	if !strings.HasPrefix(target, "/") {
		target = "/" + target // RFC 9112 section 3.2.1
	}
	return host, target, host != "" && !strings.ContainsAny(host, "@ ")
}

// NewIdentity makes the identity that a valid token with these claims gives
// under the default configuration, for tools that have no token. scopes stand for
// its scope claim; nil reads them from the claim scope, else scp.
func NewIdentity(scopes []string, claims map[string]any) (*Identity, error) {
	id := &Identity{Scopes: scopes, Claims: claims}
	for _, f := range []struct {
		claim string
		to    *string
	}{{"azp", &id.ClientID}, {"client_id", &id.ClientID}, {"sub", &id.Subject}, {"email", &id.Email}, {"iss", &id.Issuer}} {
		claim := claims[f.claim]
		text, ok := claim.(string)
		atEnds := strings.TrimFunc(text, func(c rune) bool { return unicode.IsSpace(c) || unicode.Is(unicode.Z, c) }) != text
		switch required := f.claim == "sub" || f.claim == "iss"; {
		case claim == nil:
			continue
		case strings.ContainsFunc(text, func(c rune) bool { return unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }):
			return nil, fmt.Errorf("%s has control characters", f.claim)
		case !required && (!ok || text == "" || atEnds):
			continue // as the server has it: what is optional is absent if it is no name
		case !ok:
			return nil, fmt.Errorf("%s must be text: quote it", f.claim)
		case text == "" && f.claim == "sub":
			return nil, errors.New("sub is empty")
		case atEnds:
			return nil, fmt.Errorf("%s has white space at its ends", f.claim)
		}
		*f.to = text
	}
	if verified, present := claims["email_verified"]; present && verified != true && verified != "true" {
		id.Email = "" // as the server has it: it is whatever the user typed
	}
	if scopes != nil {
		return id, nil
	}
	for _, name := range []string{"scope", "scp"} {
		if v, present := claims[name]; present {
			var err error
			id.Scopes, err = claimedScopes(name, v)
			return id, err
		}
	}
	return id, nil
}

// claimedScopes leaves out what is no scope, as the server does.
func claimedScopes(name string, claim any) ([]string, error) {
	var scopes []string
	switch v := claim.(type) {
	case nil:
	case string:
		scopes = strings.Split(v, " ")
	case []any:
		for _, element := range v {
			scope, _ := element.(string)
			scopes = append(scopes, scope)
		}
	default:
		return nil, fmt.Errorf("%s is neither text nor a list of text", name)
	}
	var unique []string
	for _, scope := range scopes {
		if scope != "" && isScope(scope) && !slices.Contains(unique, scope) {
			unique = append(unique, scope)
		}
	}
	return unique, nil
}

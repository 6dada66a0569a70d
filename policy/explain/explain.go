package explain

import (
	"fmt"
	"slices"
	"strings"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
)

// Explanation is what there is to say about a request, in the form of
// `scopeward policy explain --output json`.
type Explanation struct {
	Code     string    `json:"code"` // allow, or the code of the denial
	Allowed  bool      `json:"allowed"`
	WouldBe  string    `json:"would_be,omitempty"` // the code, if the rule's mode were not audit
	Reason   string    `json:"reason,omitempty"`
	Notes    []string  `json:"notes,omitempty"` // on what the explanation rests
	Request  Request   `json:"request"`
	Policy   string    `json:"policy,omitempty"` // its name, if the request names one
	Rule     *Rule     `json:"rule,omitempty"`   // that matched
	Checks   []Check   `json:"checks,omitempty"` // what the rule asks for
	Nearest  []Nearest `json:"nearest,omitempty"`
	ToPass   []string  `json:"to_pass,omitempty"` // all of these
	Response *Response `json:"response,omitempty"`
}

// Request is the request in its canonical form; of one that is refused, as it came.
type Request struct {
	Method string `json:"method"`
	Host   string `json:"host,omitempty"`
	Path   string `json:"path"`
}

// Place is a position in a policy file.
type Place struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// String gives file:line:column.
func (p Place) String() string { return strictyaml.Pos(p).String() }

// Rule is the rule that matched.
type Rule struct {
	Place
	Name    string `json:"name,omitempty"`
	Pattern string `json:"pattern"`         // of its patterns, the one that matched
	Access  string `json:"access"`          // public, deny or token
	Audit   bool   `json:"audit,omitempty"` // it is not enforced

	Optional  bool `json:"optional,omitempty"`  // nobody may, too
	Preflight bool `json:"preflight,omitempty"` // it is for what the preflight request asks for
}

// State says whether a condition held.
type State string

const (
	Held    State = "held"
	Failed  State = "failed"
	Errored State = "error"   // it could not be evaluated, which denies
	Unknown State = "unknown" // without a valid token there is nothing to hold it against
)

// Check is one condition of the rule.
type Check struct {
	Kind   string   `json:"kind"` // token, scopes, any_scopes, acr, max_age or when
	State  State    `json:"state"`
	Text   string   `json:"text"`             // what is asked for, in words
	Detail string   `json:"detail,omitempty"` // why it failed
	Has    []string `json:"has,omitempty"`    // scopes that are asked for and there
	Lacks  []string `json:"lacks,omitempty"`  // and those that are not
	When   *Part    `json:"when,omitempty"`
}

// Part is a part of a CEL expression and its value.
type Part struct {
	Place
	Text  string `json:"text"`
	Value any    `json:"value"`
	Error string `json:"error,omitempty"` // why there is no value
	Parts []Part `json:"parts,omitempty"`
}

// Response is what the client would get. Status is 200 if the request passes.
type Response struct {
	Status      int    `json:"status"`
	Challenge   string `json:"www_authenticate,omitempty"`
	Location    string `json:"location,omitempty"`
	ContentType string `json:"content_type,omitempty"` // "" is that of JSON
	Body        string `json:"body,omitempty"`

	// IdentityToken is the header in which the service behind gets a signed token of who
	// asks; empty if it gets none.
	IdentityToken string `json:"identity_token,omitempty"`
}

// Explain answers a question and says why. Response is left to the caller, as
// policies know nothing of responses.
func Explain(set *policy.Set, q Question) (Explanation, Outcome) {
	out := Decide(set, q)
	e := Explanation{
		Code: out.Code, Allowed: out.Code == Allow, WouldBe: out.WouldBe, Reason: out.Reason, Policy: q.Policy,
		Request: Request{Method: q.Method, Host: out.Request.Host, Path: out.Request.Path.String()},
	}
	rule := out.Match.Rule()
	switch {
	case out.Err != nil:
		e.Request.Host = q.Host
		e.Request.Path, _, _ = strings.Cut(q.Target, "?")
		e.ToPass = []string{plainPath(out.Reason)}
		return e, out
	case rule == nil:
		e.Nearest = nearest(set, q.Policy, out.Request)
		e.ToPass = []string{fmt.Sprintf("a rule that matches: there is none for %s %s%s", q.Method, e.Request.Host, printable(e.Request.Path))}
		if out.Match.NeedsSlash() {
			e.ToPass = []string{fmt.Sprintf("a slash at the end of the path, %s/, which a rule is for; or a rule for %[1]s", printable(e.Request.Path))}
		}
		if len(set.Patterns(q.Policy)) == 0 {
			e.ToPass = []string{noPolicy(set, q.Policy)}
		}
		return e, out
	}
	e.Rule = &Rule{
		Place: Place(rule.Pos), Name: rule.Name, Pattern: out.Match.Pattern().Text, Access: "deny",
		Audit: rule.Audit, Optional: out.Match.Optional(), Preflight: out.Match.ForPreflight(),
	}
	switch out.Match.Access() {
	case policy.AccessPublic:
		e.Rule.Access = "public"
	case policy.AccessToken:
		e.Rule.Access = "token"
		e.Checks = checks(out, q)
		e.ToPass = toPass(out, e.Checks, q)
	default:
		e.ToPass = []string{"another rule: this one denies everybody, whatever the token"}
	}
	return e, out
}

// checks holds the token against each condition of the rule, also those that
// were not looked at as one before had failed.
func checks(out Outcome, q Question) []Check {
	rule, id := out.Match.Rule(), q.Identity
	if q.Token != policy.TokenValid {
		id = nil
	}
	token := Check{Kind: "token", State: Held, Text: "a valid token"}
	if id == nil {
		_, why := withoutToken(q)
		token.State, token.Detail = Failed, why
	}
	if rule.Optional {
		token.Text = "no token, or a valid one"
		if withoutCredential(q) {
			token.State, token.Detail = Held, ""
		}
	}
	all := []Check{token}
	if len(rule.Scopes) > 0 {
		c := scopeCheck("scopes", allOf(rule.Scopes), rule.Scopes, id)
		if id != nil && len(c.Lacks) > 0 {
			c.State, c.Detail = Failed, "the token lacks "+strings.Join(c.Lacks, ", ")
		}
		all = append(all, c)
	}
	if len(rule.AnyScopes) > 0 {
		c := scopeCheck("any_scopes", oneOf(rule.AnyScopes), rule.AnyScopes, id)
		if id != nil && len(c.Has) == 0 {
			c.State, c.Detail = Failed, "the token has none of them"
		}
		all = append(all, c)
	}
	all = append(all, loginChecks(out.Match, id)...)
	if rule.When != "" {
		all = append(all, whenCheck(out, id))
	}
	return all
}

// loginChecks hold how and when the user has signed in against the rule.
func loginChecks(match policy.Match, id *policy.Identity) []Check {
	acr, maxAge := Check{Kind: "acr", State: Unknown, Text: match.Rule().ACRWords()}, Check{Kind: "max_age", State: Unknown, Text: match.Rule().MaxAgeWords()}
	if id != nil {
		acr.State, maxAge.State = Held, Held
		if acr.Detail, maxAge.Detail = match.StepUp(id); acr.Detail != "" {
			acr.State = Failed
		}
		if maxAge.Detail != "" {
			maxAge.State = Failed
		}
	}
	return slices.DeleteFunc([]Check{acr, maxAge}, func(c Check) bool { return c.Text == "" })
}

func scopeCheck(kind, text string, scopes []string, id *policy.Identity) Check {
	c := Check{Kind: kind, State: Unknown, Text: text}
	if id == nil {
		return c
	}
	c.State = Held
	for _, scope := range scopes {
		if slices.Contains(id.Scopes, scope) {
			c.Has = append(c.Has, scope)
		} else {
			c.Lacks = append(c.Lacks, scope)
		}
	}
	return c
}

func whenCheck(out Outcome, id *policy.Identity) Check {
	c := Check{Kind: "when", State: Unknown, Text: strings.Join(strings.Fields(out.Match.Rule().When), " ")}
	tree, ok := out.Match.Explain(id)
	if !ok {
		return c
	}
	part := newPart(tree)
	c.When = &part
	switch {
	case out.Decision.Code == policy.Allowed || tree.Err == nil && tree.Value == true: // Decide looked no further than it had to
		c.State = Held
	case tree.Err != nil:
		c.State, c.Detail = Errored, tree.Err.Error()
	default:
		c.State = Failed
	}
	return c
}

func newPart(p policy.Part) Part {
	part := Part{Place: Place(p.Pos), Text: p.Text, Value: p.Value}
	if p.Err != nil {
		part.Error = p.Err.Error()
	}
	for _, child := range p.Parts {
		part.Parts = append(part.Parts, newPart(child))
	}
	return part
}

func allOf(scopes []string) string {
	if len(scopes) == 1 {
		return "the scope " + scopes[0]
	}
	return "all of the scopes " + strings.Join(scopes, ", ")
}

func oneOf(scopes []string) string {
	if len(scopes) == 1 {
		return "the scope " + scopes[0]
	}
	return "one of the scopes " + strings.Join(scopes, ", ")
}

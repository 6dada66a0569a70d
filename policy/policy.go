// Package policy decides what a request needs and whether an identity has it.
// It is pure: it knows neither tokens nor Envoy, and reads files only in Load.
//
// The way of a request: NewRequest makes it canonical or refuses it, Set.Match
// finds the one rule that is about it, and Match.Decide holds an identity
// against that rule. Each step is made so that what it does not know denies.
//
//	set, err := policy.Load("policy.yaml")
//	request, err := policy.NewRequest("GET", "api.example.com", "/users/42?full=1")
//	match, err := set.Match("", &request)
//	decision := match.Decide(&policy.Identity{Subject: "42", Scopes: []string{"read:users"}})
//
// # Patterns
//
// A rule matches by patterns `[METHOD ][HOST]/PATH` with the meaning of
// net/http.ServeMux: `{id}` is one segment, `{rest...}` all that follow, `{$}`
// the end after a slash, a path that ends in a slash stands for everything
// below it, and GET is for HEAD too. The most specific pattern wins: where two overlap
// and neither is more specific, a third one for just what they have in common must say
// what counts there. A pattern with a host wins over those without, and a whole host
// over one that begins with `{tenant}`, which is any one label. Where a pattern is for
// the path with a slash at its end, more general ones don't match the path without.
// Methods are compared as they are; one with lower-case letters matches no rule, as some
// servers would take it for another.
//
// # Conditions
//
// `when` is a CEL expression (https://cel.dev) of type bool over these names:
//
//	path.NAME                                     the wildcards that all patterns of the rule have, as text
//	host.NAME                                     likewise, of the host
//	request.method, .host, .path, .client_ip      text, canonical
//	request.peer.principal, .address              text, of who has connected to Envoy; what is not known is an error
//	request.json                                  the body, read strictly; an error if it is no JSON or not there
//	request.query                                 lists of text by name; malformed queries deny
//	request.headers                               text by lower-case name
//	identity.subject, .email, .client_id, .issuer, .provider     text
//	identity.scopes                               list of text
//	identity.claims                               values by name, as the provider gave them
//
// An error during evaluation, such as a claim that is not there, denies. Ask
// has(identity.claims.NAME) first where that is not wanted.
package policy

// Identity is who a valid token speaks for, as far as rules can ask.
type Identity struct {
	Subject, Email, ClientID, Issuer, Provider string
	Scopes                                     []string
	Claims                                     map[string]any
}

// Access is what a rule asks for. The zero value denies.
type Access uint8

const (
	AccessDeny   Access = iota // no rule, or one that denies
	AccessPublic               // no token
	AccessToken                // a valid token, and then what Decide says
)

// Code is the outcome of a decision. The zero value denies.
type Code uint8

const (
	AccessDenied               Code = iota // the rule denies, its condition does not hold, or there is no rule
	InsufficientScope                      // the token lacks a scope
	InsufficientAuthentication             // the user must sign in again, or in another way (RFC 9470)
	Allowed
)

// Decision is what a rule says about an identity. The zero value denies.
type Decision struct {
	Code   Code
	Scopes []string // what InsufficientScope challenges for: scopes, then any_scopes; shared, do not change
	Reason string   // in words; empty if allowed
	Err    error    // why the condition could not be evaluated
}

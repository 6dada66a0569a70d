// Package policy decides what a request needs and whether an identity has it.
// It is pure: it knows neither tokens nor Envoy, and reads files only in Load.
package policy

import (
	"errors"

	"scopeward/policy/strictyaml"
)

// Identity is who a valid token speaks for, as far as rules can ask.
type Identity struct {
	Subject, Email, ClientID, Issuer, Provider string
	Scopes                                     []string
	Claims                                     map[string]any
}

// File is a policy file that has been read.
type File struct {
	Name string
	Data []byte
}

// Access is what a rule asks for. The zero value denies.
type Access uint8

const (
	AccessDeny   Access = iota // no rule, or one that denies
	AccessPublic               // no token is needed
	AccessToken                // a valid token, and then what Decide says
)

// Code is the outcome of a decision. The zero value denies.
type Code uint8

const (
	AccessDenied Code = iota
	InsufficientScope
	Allowed
)

// Decision is what a rule says of an identity. The zero value denies.
type Decision struct {
	Code   Code
	Scopes []string // for the challenge of InsufficientScope: scopes, then any_scopes. Read only.
	Reason string   // in words, for people
	Err    error    // set if the condition could not be evaluated
}

// Rule is one rule of a policy file. It is read only.
type Rule struct {
	Name string
	Pos  strictyaml.Pos
}

// Set is an immutable, compiled set of policies. The zero value denies.
type Set struct{}

// Match is the rule that a request meets. The zero value is no rule, and denies.
type Match struct{}

// RequestError says why a request is ambiguous: it must be answered with 400.
type RequestError struct{ Reason string }

func (e *RequestError) Error() string { return e.Reason }

// Path is a canonical path.
type Path struct{ canonical string }

// String gives the path, decoded once.
func (p Path) String() string { return p.canonical }

// Request is the part of an HTTP request that rules can ask about.
type Request struct {
	Method, Host string
	Path         Path
	Query        string
	Headers      map[string]string
	ClientIP     string
}

// NewRequest makes a request canonical. target is the raw path with its query.
func NewRequest(method, host, target string) (Request, error) {
	return Request{}, &RequestError{"not implemented"}
}

// Parse compiles files.
func Parse(files ...File) (*Set, error) { return nil, errors.New("policy: not implemented") }

// Load reads and compiles files, or the *.yaml and *.yml files of directories.
func Load(paths ...string) (*Set, error) { return nil, errors.New("policy: not implemented") }

// Match finds the rule for a request in the policy called name.
func (s *Set) Match(name string, r *Request) (Match, error) { return Match{}, nil }

// Version is a short hash of the contents.
func (s *Set) Version() string { return "" }

// Rules gives all rules.
func (s *Set) Rules() []*Rule { return nil }

// Rule gives the rule, nil if there is none.
func (m Match) Rule() *Rule { return nil }

// Action gives the rule's name, else the pattern that matched, else "".
func (m Match) Action() string { return "" }

// Access gives what the rule asks for.
func (m Match) Access() Access { return AccessDeny }

// Decide says whether id has what the rule asks for.
func (m Match) Decide(id *Identity) Decision { return Decision{} }

package policy

import (
	"net/http"
	"slices"
)

// Preflight gives the method that a browser asks for by a CORS preflight request, "" if a
// request is none (https://fetch.spec.whatwg.org/#cors-preflight-fetch). header gives the
// value of a header by its lower-case name.
func Preflight(method string, header func(name string) string) string {
	if method != http.MethodOptions || header("origin") == "" {
		return ""
	}
	asked := header("access-control-request-method")
	if !isToken(asked) || slices.Contains([]string{http.MethodOptions, http.MethodConnect, http.MethodTrace}, asked) {
		return ""
	}
	return asked
}

// LetsPreflightsPass reports whether the file of any rule has preflight: public.
func (s *Set) LetsPreflightsPass() bool {
	return slices.ContainsFunc(s.Rules(), func(r *Rule) bool { return r.preflight })
}

// LetsPreflightsPass reports whether the rule's file has preflight: public.
func (r *Rule) LetsPreflightsPass() bool { return r.preflight }

// PreflightMethods gives the usual methods for which a preflight request passes to the host
// and path of an OPTIONS request.
func (s *Set) PreflightMethods(name string, r *Request) (methods []string) {
	asked := *r
	for _, asked.Preflight = range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		if m, err := s.Match(name, &asked); err == nil && m.preflight {
			methods = append(methods, asked.Preflight)
		}
	}
	return methods
}

// ForPreflight reports whether the rule is for the method that a preflight request asks
// for: the request passes by preflight: public.
func (m Match) ForPreflight() bool { return m.preflight }

// preflight gives the match of a preflight request: that of the method it asks for, where
// no pattern names OPTIONS itself, and the rule lets preflights pass.
func (t *table) preflight(r *Request, options Match) Match {
	if r.Preflight == "" || r.Method != http.MethodOptions || options.pattern != nil && options.pattern.Method == http.MethodOptions {
		return options
	}
	asked := *r
	asked.Method = r.Preflight
	m := t.match(&asked)
	if m.rule == nil || !m.rule.preflight || m.rule.Access == AccessDeny {
		return options
	}
	return Match{rule: m.rule, pattern: m.pattern, request: r, preflight: true}
}

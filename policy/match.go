package policy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"scopeward/internal/strictyaml"
)

// Set is an immutable, compiled set of policies, safe for concurrent use. The
// zero value has no rule and denies.
type Set struct {
	version string
	rules   []*Rule
	tests   []*Test
	tables  map[string]*table // by policy name; "" is the default
}

// Version gives a short hash of the files that the set was made from.
func (s *Set) Version() string { return s.version }

// Rules gives the rules of all policies in the order of their files; read only.
func (s *Set) Rules() []*Rule {
	if s == nil {
		return nil
	}
	return s.rules
}

// AdmitsEncodedSlash reports whether the file of any rule admits %2F in paths.
func (s *Set) AdmitsEncodedSlash() bool {
	return slices.ContainsFunc(s.rules, func(r *Rule) bool { return r.admits.encodedSlash })
}

// AdmitsEscapedUnreserved reports whether the file of any rule admits paths such as
// /%61dmin, which Envoy's routes take for another path than /admin.
func (s *Set) AdmitsEscapedUnreserved() bool {
	return slices.ContainsFunc(s.rules, func(r *Rule) bool { return r.admits.escapedUnreserved })
}

// Match finds the rule for r in the policy called name; "" is the default
// policy: the rules of all files without a `name:` key. A policy that does not
// exist has no rules. r must stay as it is while the Match is in use. The error
// is a *RequestError: for a form of path that the matching rule's file does not
// admit.
func (s *Set) Match(name string, r *Request) (Match, error) {
	var m Match
	if s != nil {
		m = s.tables[name].match(r)
	}
	var admits pathForms
	if m.rule != nil {
		admits = m.rule.admits
	}
	switch {
	case r.Path.encodedSlash && (!admits.encodedSlash || !m.pattern.admitsSlashes(r.Path)):
		return Match{}, &RequestError{"the path has an escaped slash (%2f)"}
	case r.Path.escapedUnreserved && !admits.escapedUnreserved:
		return Match{}, &RequestError{"the path escapes a character that needs no escape (%61 for a)"}
	}
	return m, nil
}

// pathForms are the forms of paths that are refused unless the policy file admits them.
type pathForms struct{ encodedSlash, escapedUnreserved bool }

// Match is the rule that a request meets. The zero value is no rule, and denies.
type Match struct {
	rule    *Rule
	pattern *Pattern
	request *Request
	values  []string // of the condition's path variables

	// needsSlash: ServeMux would redirect to the path with a slash at its end, where a
	// rule is, so that the rules for this path do not apply.
	needsSlash bool
}

// NeedsSlash reports whether there is no rule for the path because there is one for the
// path with a slash at its end.
func (m Match) NeedsSlash() bool { return m.needsSlash }

// Rule gives the rule, nil if there is none.
func (m Match) Rule() *Rule { return m.rule }

// Action gives the rule's name, else the pattern that matched as it is written,
// else "".
func (m Match) Action() string {
	switch {
	case m.rule == nil:
		return ""
	case m.rule.Name != "":
		return m.rule.Name
	default:
		return m.pattern.Text
	}
}

// Pattern gives the pattern that matched, nil if there is no rule.
func (m Match) Pattern() *Pattern { return m.pattern }

// Uses reports whether the rule's condition asks for a variable, such as
// identity.claims: what is costly to come by need be there only then.
func (m Match) Uses(variable string) bool {
	return m.rule != nil && m.rule.condition != nil && slices.Contains(m.rule.condition.uses, variable)
}

// Access gives what the rule asks for.
func (m Match) Access() Access {
	if m.rule == nil {
		return AccessDeny
	}
	return m.rule.Access
}

// table matches the patterns of one policy, by an http.ServeMux.
type table struct {
	mux       *http.ServeMux
	patterns  map[string]*Pattern // as ServeMux knows them
	exchanges sync.Pool
}

func newTable() *table {
	t := &table{mux: http.NewServeMux(), patterns: map[string]*Pattern{}}
	t.exchanges.New = func() any { return &exchange{header: http.Header{}} }
	return t
}

// muxReadsPatterns reports whether ServeMux knows methods and wildcards. A Go
// debug setting, read at start, makes it take them literally.
func muxReadsPatterns() bool {
	mux := http.NewServeMux()
	mux.Handle("GET /{segment}", &route{})
	_, pattern := mux.Handler(&http.Request{Method: "GET", URL: &url.URL{Path: "/x"}})
	return pattern != ""
}

// route is what the mux serves for a pattern: it notes that it was found.
type route struct {
	rule    *Rule
	pattern *Pattern
}

func (rt *route) ServeHTTP(w http.ResponseWriter, _ *http.Request) { w.(*exchange).found = rt }

// exchange is a request to the mux, and what comes back. Answers that the mux
// gives by itself (redirects, 404, 405) are dropped: they find no rule.
type exchange struct {
	request http.Request
	url     url.URL
	header  http.Header
	found   *route

	redirected bool
}

func (x *exchange) Header() http.Header         { return x.header }
func (x *exchange) Write(b []byte) (int, error) { return len(b), nil }
func (x *exchange) WriteHeader(code int)        { x.redirected = code/100 == 3 }

// match asks the mux. A canonical path is clean, so the mux has nothing to
// clean; where it would redirect to a path with a slash, nothing is found.
func (t *table) match(r *Request) Match {
	// Some servers take "get" for GET: a lower-case method is no rule's.
	if t == nil || r.Path.canonical == "" || r.Method == "" || r.Method != strings.ToUpper(r.Method) {
		return Match{}
	}
	x := t.exchanges.Get().(*exchange)
	defer t.release(x)
	x.url = url.URL{Host: r.Host, Path: r.Path.canonical}
	if r.Path.encodedSlash {
		x.url.RawPath = r.Path.escaped()
		x.url.Path = strings.ReplaceAll(r.Path.canonical, encodedSlash, "/")
		if x.url.EscapedPath() != x.url.RawPath {
			return Match{} // net/url would fall back to Path, where %2F is a slash
		}
	}
	// CONNECT looks at the host of the URL first, the others at Host alone.
	x.request = http.Request{Method: r.Method, Host: r.Host, URL: &x.url}
	t.mux.ServeHTTP(x, &x.request)
	if x.found == nil {
		return Match{needsSlash: x.redirected}
	}
	m := Match{rule: x.found.rule, pattern: x.found.pattern, request: r}
	if c := m.rule.condition; c != nil && len(c.wildcards) > 0 {
		m.values = make([]string, len(c.wildcards))
		for i, name := range c.wildcards {
			m.values[i] = x.request.PathValue(name)
		}
	}
	return m
}

func (t *table) release(x *exchange) {
	clear(x.header)
	*x = exchange{header: x.header}
	t.exchanges.Put(x)
}

// add registers a pattern. ServeMux panics over patterns that it can't take and
// over conflicts: the panic becomes a problem.
func (t *table) add(rule *Rule, pattern *Pattern) (problem *strictyaml.Problem) {
	defer func() {
		if reason := recover(); reason != nil {
			problem = t.refusal(pattern, fmt.Sprint(reason))
		}
	}()
	t.mux.Handle(pattern.String(), &route{rule, pattern})
	t.patterns[pattern.String()] = pattern
	return nil
}

// refusal turns ServeMux's words into a problem: without its own positions,
// which are of this code, with those of the file instead.
func (t *table) refusal(pattern *Pattern, reason string) *strictyaml.Problem {
	problem := &strictyaml.Problem{Pos: pattern.Pos}
	_, after, conflict := strings.Cut(reason, " conflicts with pattern ")
	if !conflict {
		_, syntax, _ := strings.Cut(reason, "at offset ")
		if _, words, ok := strings.Cut(syntax, ": "); ok {
			reason = words
		}
		problem.Message = fmt.Sprintf("pattern %q: %s", pattern.Text, reason)
		return problem
	}
	var conflicting *Pattern
	other := ""
	if quoted, err := strconv.QuotedPrefix(after); err == nil {
		if text, err := strconv.Unquote(quoted); err == nil && t.patterns[text] != nil {
			conflicting = t.patterns[text]
			other = fmt.Sprintf("%q at %s", conflicting.Text, conflicting.Pos)
		}
	}
	_, why, _ := strings.Cut(after, ":\n")
	problem.Message = fmt.Sprintf("pattern %q conflicts with %s: %s", pattern.Text, other, strings.Join(strings.Fields(why), " "))
	if conflicting != nil && conflicting.Pos.File != pattern.Pos.File {
		problem.Message += "; a name: in one of the two files makes it a policy of its own, for requests that name it"
	}
	return problem
}

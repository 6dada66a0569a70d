package policy

import (
	"fmt"
	"net/http"
	"slices"

	"scopeward/internal/strictyaml"
	"scopeward/policy/pattern"
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
		m = s.tables[name].preflight(r, m)
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
	values  []string // of the condition's variables for wildcards

	// needsSlash: a rule is for the path with a slash at its end, so that more general
	// rules do not apply.
	needsSlash bool

	preflight bool // the rule is for the method that a preflight request asks for
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

// Uses reports whether the rule asks for a variable of conditions, such as
// identity.claims: what is costly to come by need be there only then.
func (m Match) Uses(variable string) bool {
	if m.rule == nil || m.preflight {
		return false
	}
	if variable == "identity.claims" && m.rule.StepUp() {
		return true
	}
	return m.rule.condition != nil && slices.Contains(m.rule.condition.uses, variable)
}

// Uses reports whether the condition of any rule asks for a variable.
func (s *Set) Uses(variable string) bool {
	return slices.ContainsFunc(s.rules, func(r *Rule) bool { return r.condition != nil && slices.Contains(r.condition.uses, variable) })
}

// Access gives what the rule asks for.
func (m Match) Access() Access {
	switch {
	case m.rule == nil:
		return AccessDeny
	case m.preflight:
		return AccessPublic
	}
	return m.rule.Access
}

// table matches the patterns of one policy.
type table struct {
	tree     pattern.Tree[*route]
	patterns []*route // in the order of the files
}

// route is what a pattern leads to.
type route struct {
	rule    *Rule
	pattern *Pattern
	order   int // of the patterns of the table
}

func newTable() *table { return &table{tree: pattern.Tree[*route]{}} }

// match finds the most specific pattern for a request.
func (t *table) match(r *Request) Match {
	// Some servers take "get" for GET: a lower-case method is no rule's.
	if t == nil || r.Path.canonical == "" || r.Method == "" || hasLower(r.Method) {
		return Match{}
	}
	found, needsSlash := t.tree.Find(r.Method, r.Host, r.Path.canonical)
	if found == nil {
		return Match{needsSlash: needsSlash}
	}
	m := Match{rule: found.Value.rule, pattern: found.Value.pattern, request: r}
	if c := m.rule.condition; c != nil && len(c.wildcards) > 0 {
		m.values = make([]string, len(c.wildcards))
		for i, name := range c.wildcards {
			m.values[i] = m.pattern.value(r, name)
		}
	}
	return m
}

func hasLower(method string) bool {
	for i := range len(method) {
		if 'a' <= method[i] && method[i] <= 'z' {
			return true
		}
	}
	return false
}

// add registers a pattern. That there is one for the same requests is a problem.
func (t *table) add(rule *Rule, p *Pattern) *strictyaml.Problem {
	added := &route{rule, p, len(t.patterns)}
	if same := t.tree.Add(&p.Pattern, added); same != nil {
		return conflict(p, same.Value.pattern, "both match the same requests")
	}
	t.patterns = append(t.patterns, added)
	return nil
}

// conflicts gives a problem for each pattern that has requests in common with one before
// it, where none of both is more specific, and no third one is for just these requests.
func (t *table) conflicts() strictyaml.Problems {
	var problems strictyaml.Problems
	for i, later := range t.patterns {
		strictyaml.GiveTurn(i)
		var rival *route
		t.tree.OfHost(later.pattern.Host).Overlapping(&later.pattern.Pattern, func() bool { return true }, func(other *pattern.Leaf[*route]) {
			earlier := other.Value
			if earlier.order >= i || rival != nil && rival.order < earlier.order || !later.pattern.Conflicts(other.Pattern) {
				return
			}
			if both, _ := later.pattern.Meet(other.Pattern); t.tree.Get(&both) == nil {
				rival = earlier
			}
		})
		if rival != nil {
			both, _ := later.pattern.Meet(&rival.pattern.Pattern)
			problems = append(problems, *conflict(later.pattern, rival.pattern,
				fmt.Sprintf("both match %s, and none is more specific than the other; a pattern %q settles it: its rule counts there", both.String(), both.String())))
		}
	}
	return problems
}

func conflict(p, other *Pattern, why string) *strictyaml.Problem {
	problem := &strictyaml.Problem{Pos: p.Pos, Message: fmt.Sprintf("pattern %q conflicts with %q at %s: %s", p.Text, other.Text, other.Pos, why)}
	if p.Method == http.MethodOptions || other.Method == http.MethodOptions {
		problem.Message += "; to let browsers' preflight requests pass, write preflight: public in the file instead of patterns for OPTIONS"
	}
	if other.Pos.File != p.Pos.File {
		problem.Message += "; a name: in one of the two files makes it a policy of its own, for requests that name it"
	}
	return problem
}

package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
	"scopeward/policy/pattern"
)

// Nearest is a pattern that does not match a request, and why.
type Nearest struct {
	Place
	Pattern string   `json:"pattern"`
	Why     []string `json:"why"`

	cost   int
	common int // literal segments that both have
}

const (
	maxNearest = 3 // patterns to show
	maxCost    = 3 // of one that is near: about a slip each
)

// nearest gives the patterns that differ least from a request which none matches.
func nearest(set *policy.Set, name string, r *policy.Request) []Nearest {
	var all []Nearest
	for _, p := range set.Patterns(name) {
		if n := compare(p, r); n.cost > 0 && n.cost <= maxCost {
			all = append(all, n)
		}
	}
	slices.SortStableFunc(all, func(a, b Nearest) int { return cmp.Compare(a.cost, b.cost) })
	if i := slices.IndexFunc(all, func(n Nearest) bool { return n.cost > all[0].cost+1 }); i > 0 {
		all = all[:i] // far from as near
	}
	return all[:min(len(all), maxNearest)]
}

// noPolicy says which policies there are.
func noPolicy(set *policy.Set, name string) string {
	known := strings.Join(set.Names(), ", ")
	if name == "" {
		return "the name of a policy in the request: all rules are for those that name one of " + known
	}
	return fmt.Sprintf("another policy: none is called %s; known are %s", printable(name), known)
}

// OnlyPolicy gives the name of the policy if all rules belong to one that has a
// name, so that there is no question which one is meant.
func OnlyPolicy(set *policy.Set) string {
	name := ""
	for i, rule := range set.Rules() {
		if i > 0 && rule.Policy != name {
			return ""
		}
		name = rule.Policy
	}
	return name
}

// compare says in which ways a pattern and a request differ.
func compare(p *policy.Pattern, r *policy.Request) Nearest {
	n := Nearest{Place: Place(p.Pos), Pattern: p.Text}
	switch upper := strings.ToUpper(r.Method); {
	case upper != r.Method && (p.Method == "" || p.Method == upper || p.Method == "GET" && upper == "HEAD"):
		n.differ(1, "methods are compared as they are: %s is not %s", r.Method, upper)
	case p.Method == "" || p.Method == r.Method || p.Method == "GET" && r.Method == "HEAD":
	default:
		n.differ(1, "its method is %s, not %s", p.Method, r.Method)
	}
	switch {
	case p.HasHost(r.Host):
	case r.Host == "":
		n.differ(1, "it is for the host %s, and the request names none", p.Host)
	default:
		n.differ(1, "its host is %s, not %s", p.Host, r.Host)
	}
	n.comparePaths(p, strings.Split(r.Path.String(), "/")[1:])
	return n
}

func (n *Nearest) differ(cost int, format string, args ...any) {
	n.cost += cost
	n.Why = append(n.Why, fmt.Sprintf(format, args...))
}

// comparePaths compares segments, and then what follows them.
func (n *Nearest) comparePaths(p *policy.Pattern, path []string) {
	for i, want := range p.Segments {
		if i >= len(path) {
			left := len(p.Segments) - i
			if p.End != pattern.Exactly {
				left++
			}
			n.differ(left, "it has %s more: %s", segments(left), "/"+strings.Join(strings.Split(p.Path(), "/")[i+1:], "/"))
			return
		}
		n.compareSegments(i+1, want, path[i])
	}
	extra := path[len(p.Segments):]
	switch {
	case p.End == pattern.Exactly && len(extra) > 0:
		n.differ(len(extra), "the path has %s more: %s", segments(len(extra)), printable("/"+strings.Join(extra, "/")))
	case p.End != pattern.Exactly && len(extra) == 0:
		n.differ(1, "it is for what is below, after a slash at the end")
	case p.End == pattern.Slash && extra[0] != "":
		n.differ(len(extra), "it ends after the slash, the path goes on with %s", printable(strings.Join(extra, "/")))
	}
}

func (n *Nearest) compareSegments(number int, segment pattern.Segment, got string) {
	want := segment.Literal
	if want == "" {
		if got == "" {
			n.differ(1, "segment %d is %s, and the path has nothing there", number, segment.Text)
		}
		return
	}
	switch {
	case want == got:
		n.common++
	case strictyaml.Nearest(got, []string{want}) != "":
		n.differ(1, "segment %d is %q, not %q", number, want, got)
	default: // of the same place at best
		n.differ(maxCost+1-min(n.common, 2), "segment %d is %q, not %q", number, want, got)
	}
}

func segments(n int) string {
	if n == 1 {
		return "a segment"
	}
	return fmt.Sprintf("%d segments", n)
}

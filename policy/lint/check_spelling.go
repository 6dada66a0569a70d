package lint

import (
	"fmt"
	"strings"

	"scopeward/policy"
	"scopeward/policy/pattern"
)

// publicSubtree finds public patterns that end in a slash without saying for what.
func publicSubtree(g *group, report reporter) {
	for _, r := range g.rules {
		for _, p := range r.Patterns {
			if r.Access == policy.AccessPublic && p.End == pattern.More && p.Rest == "" && len(p.Segments) > 0 {
				report(r, p.Pos, "public-subtree", fmt.Sprintf("%q is public with everything below it", p.Text),
					fmt.Sprintf("write %s{$} for that path alone, or %s{path...} if all of it is meant", p.Path(), p.Path()))
			}
		}
	}
}

// looserSpelling finds rules for all below a path that ask for less than a rule that
// another spelling of the same path meets: for a service that ignores it, they open the
// path of that rule.
func looserSpelling(g *group, report reporter) {
	type at struct {
		rule    *rule
		pattern *policy.Pattern
	}
	said := map[at]bool{}
	for _, strict := range g.rules {
		for _, q := range strict.Patterns {
			own := method(q)
			for _, target := range spellings(g, q) {
				loose, p := g.matched(own, g.host(q), target)
				if loose == nil || loose == strict || loose.Access == policy.AccessPublic || said[at{loose, p}] ||
					p.End != pattern.More || !loose.weaker(strict) {
					continue
				}
				said[at{loose, p}] = true
				report(loose, p.Pos, "looser-spelling", fmt.Sprintf("%s%s meets this pattern, which asks for less than %q at %s: a service that ignores case, "+
					"parameters or a slash at the end takes it for that", q.Host, target, q.Text, q.Pos),
					"name what is allowed in place of all below, or ask for as much here")
			}
		}
	}
}

// spellings gives other ways to write the path of a pattern.
func spellings(g *group, p *policy.Pattern) []string {
	base := g.concrete(p)
	if base == "" {
		return nil
	}
	all := []string{base + ";x=1"}
	if upper := strings.ToUpper(base); upper != base && !strings.Contains(base, "%") {
		all = append([]string{upper}, all...)
	}
	if p.End == pattern.Exactly {
		all = append([]string{base + "/"}, all...)
	}
	return all
}

func (g *group) matched(method, host, target string) (*rule, *policy.Pattern) {
	request, err := policy.NewRequest(method, host, target)
	if err != nil {
		return nil, nil
	}
	m, err := g.set.Match(g.name, &request)
	if err != nil || m.Rule() == nil {
		return nil, nil
	}
	return g.byRule[m.Rule()], m.Pattern()
}

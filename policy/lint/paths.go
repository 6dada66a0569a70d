package lint

import (
	"iter"
	"strings"

	"scopeward/policy"
	"scopeward/policy/pattern"
)

// concrete gives a request path for what a pattern says of its start: without
// what {rest...} and {$} stand for, and without a slash at the end. Its
// wildcards are segments that no pattern names.
func (g *group) concrete(p *policy.Pattern) string {
	var out strings.Builder
	for _, s := range p.Segments {
		if s.Literal != "" {
			out.WriteString("/" + s.Text)
		} else {
			out.WriteString("/" + g.fresh)
		}
	}
	return out.String()
}

// examples gives a request path for each form that a pattern's paths have. What
// a more specific pattern takes of a form, all of them together take as a whole
// if they take its example: only wildcards match the fresh segments in it.
func (g *group) examples(p *policy.Pattern) iter.Seq[string] {
	return func(yield func(string) bool) {
		target := g.example(p)
		if !yield(target) || p.End != pattern.More {
			return
		}
		target = strings.TrimSuffix(target, "/")
		for range g.depth + 1 - len(p.Segments) {
			target += "/" + g.fresh
			if !yield(target) || !yield(target+"/") {
				return
			}
		}
	}
}

// example gives a request path for a pattern.
func (g *group) example(p *policy.Pattern) string {
	if p.End != pattern.Exactly {
		return g.concrete(p) + "/"
	}
	return g.concrete(p)
}

// host gives a host of a pattern, "" if it is for all. Its wildcard is a label that no
// pattern names.
func (g *group) host(p *policy.Pattern) string {
	if _, domain := pattern.SplitHost(p.Host); domain != "" {
		return g.fresh + domain
	}
	return p.Host
}

// method gives a method of a pattern. A pattern without one has them all, also
// one that no pattern names.
func method(p *policy.Pattern) string {
	if p.Method == "" {
		return "LINT"
	}
	return p.Method
}

// isGRPC reports whether a path is that of a gRPC method,
// /package.Service/Method, which is called by POST whatever it does.
func isGRPC(p *policy.Pattern) bool {
	return len(p.Segments) == 2 && p.End == pattern.Exactly && strings.Contains(p.Segments[0].Literal, ".")
}

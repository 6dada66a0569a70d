package lint

import (
	"iter"
	"strings"

	"scopeward/policy"
)

// segment is a part of a pattern's path.
type segment struct {
	kind kind
	text string // of a literal; the name of a wildcard
}

type kind uint8

const (
	literal kind = iota
	single       // {name}
	rest         // {name...}, or nothing after the last slash
	end          // {$}: an empty segment, the last
)

// segments reads the path of a pattern as net/http.ServeMux does.
func segments(path string) []segment {
	var out []segment
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		name, isWildcard := strings.CutPrefix(part, "{")
		name = strings.TrimSuffix(name, "}")
		switch {
		case part == "":
			out = append(out, segment{kind: rest})
		case !isWildcard:
			out = append(out, segment{literal, part})
		case name == "$":
			out = append(out, segment{kind: end})
		case strings.HasSuffix(name, "..."):
			out = append(out, segment{rest, strings.TrimSuffix(name, "...")})
		default:
			out = append(out, segment{single, name})
		}
	}
	return out
}

// covers reports whether the path p matches all that the path q does.
func covers(p, q []segment) bool {
	for i, s := range p {
		switch {
		case i >= len(q):
			return false
		case s.kind == rest:
			return true
		case s.kind == single && q[i].kind == literal:
		case s != q[i] && (s.kind != single || q[i].kind != single):
			return false
		}
	}
	return len(p) == len(q)
}

// coversAll reports whether the pattern p matches all that the pattern q does.
func coversAll(p, q *policy.Pattern, pPath, qPath []segment) bool {
	return (p.Host == "" || p.Host == q.Host) &&
		(p.Method == "" || p.Method == q.Method || p.Method == "GET" && q.Method == "HEAD") &&
		covers(pPath, qPath)
}

// concrete gives a request path for what a pattern says of its start: without
// what {rest...} and {$} stand for, and without a slash at the end. Its
// wildcards are segments that no pattern names.
func (g *group) concrete(path []segment) string {
	var out strings.Builder
	for _, s := range path {
		switch s.kind {
		case literal:
			out.WriteString("/" + s.text)
		case single:
			out.WriteString("/" + g.fresh)
		}
	}
	return out.String()
}

// examples gives a request path for each form that a pattern's paths have. What
// a more specific pattern takes of a form, all of them together take as a whole
// if they take its example: only wildcards match the fresh segments in it.
func (g *group) examples(path []segment) iter.Seq[string] {
	return func(yield func(string) bool) {
		target := g.example(path)
		if !yield(target) || path[len(path)-1].kind != rest {
			return
		}
		target = strings.TrimSuffix(target, "/")
		for range g.depth + 2 - len(path) {
			target += "/" + g.fresh
			if !yield(target) || !yield(target+"/") {
				return
			}
		}
	}
}

// example gives a request path for a pattern.
func (g *group) example(path []segment) string {
	if last := path[len(path)-1].kind; last == rest || last == end {
		return g.concrete(path) + "/"
	}
	return g.concrete(path)
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
func isGRPC(path []segment) bool {
	return len(path) == 2 && path[0].kind == literal && strings.Contains(path[0].text, ".")
}

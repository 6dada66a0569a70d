package diff

import (
	"net/url"
	"strings"

	"scopeward/policy"
)

// ending says how the paths of a source may go on after its segments.
type ending uint8

const (
	exactly ending = iota // not at all
	slash                 // with a slash: {$}
	more                  // with a slash and anything: {rest...}, or a slash at the end
)

// source is a set of requests that ServeMux can tell apart from others: those
// of one pattern, or the paths that ServeMux would redirect because of it.
type source struct {
	method, host string   // empty: all
	segments     []string // literal and unescaped; empty: any one
	end          ending
}

// sources gives what the patterns of a policy can tell apart. A pattern for
// /tree/ also makes ServeMux redirect /tree, where no rule applies then: such
// paths are a source of their own.
func sources(patterns []*policy.Pattern) []*source {
	var all []*source
	for _, p := range patterns {
		s := newSource(p)
		all = append(all, s)
		if s.end != exactly && len(s.segments) > 0 {
			all = append(all, &source{s.method, s.host, s.segments, exactly})
		}
	}
	return all
}

func newSource(p *policy.Pattern) *source {
	s := &source{method: p.Method, host: p.Host}
	segments := strings.Split(p.Path, "/")[1:]
	switch last := segments[len(segments)-1]; {
	case last == "" || strings.HasSuffix(last, "...}"):
		s.end = more
	case last == "{$}":
		s.end = slash
	}
	if s.end != exactly {
		segments = segments[:len(segments)-1]
	}
	for _, segment := range segments {
		s.segments = append(s.segments, literal(segment))
	}
	return s
}

// literal gives the text that a segment of a pattern stands for, "" for a wildcard.
func literal(segment string) string {
	if strings.HasPrefix(segment, "{") {
		return ""
	}
	if text, err := url.PathUnescape(segment); err == nil {
		return text
	}
	return segment
}

// wildFrom gives the number of segments up to the last literal one.
func (s *source) wildFrom() int {
	n := len(s.segments)
	for n > 0 && s.segments[n-1] == "" {
		n--
	}
	return n
}

// has reports whether a path with n segments, and a slash at the end or not, can
// be one of s.
func (s *source) has(n int, trailing bool) bool {
	switch s.end {
	case exactly:
		return n == len(s.segments) && !trailing
	case slash:
		return n == len(s.segments) && trailing
	default:
		return n > len(s.segments) || n == len(s.segments) && trailing
	}
}

// commonMethod gives the method that stands for those that two patterns have in
// common.
func commonMethod(a, b string) (string, bool) {
	switch {
	case a == b || b == "":
		return a, true
	case a == "":
		return b, true
	case a == "GET" && b == "HEAD" || a == "HEAD" && b == "GET":
		return "HEAD", true // GET is for HEAD too
	default:
		return "", false
	}
}

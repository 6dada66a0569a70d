// Package pattern is the algebra of patterns: which requests a pattern is for, how the
// requests of two patterns lie to each other, and which of many patterns is for a request.
//
// A pattern is `[METHOD ][HOST]/PATH` with the meaning of net/http.ServeMux: {name} is one
// segment, {name...} and a slash at the end all that follow, {$} the end after a slash;
// GET is for HEAD too, and a pattern with a host goes before those without. Two things are
// more than ServeMux has. A host may begin with {name}, for one label. And two patterns of
// which none is more specific may stand beside each other if a third one is for exactly
// the requests that both are for.
package pattern

import (
	"errors"
	"fmt"
	"go/token"
	"net/url"
	"slices"
	"strings"
)

// Pattern is a set of requests: those with its method, its host and its path.
type Pattern struct {
	Method   string // empty: all. GET is for HEAD too
	Host     string // lower case; empty: all. {name}.example.com has any one label for {name}
	Segments []Segment
	End      End
	Rest     string // the name of {name...}, of which the End is More; empty: a slash at the end
}

// Segment is one segment of a path: a literal, or any one that is not empty.
type Segment struct {
	Literal string // unescaped; empty: any
	Text    string // as it is written
}

// Name gives the name of a wildcard, "" of a literal.
func (s Segment) Name() string {
	if s.Literal != "" {
		return ""
	}
	return s.Text[1 : len(s.Text)-1]
}

// End says how the paths of a pattern may go on after its segments.
type End uint8

const (
	Exactly End = iota // not at all
	Slash              // with a slash: {$}
	More               // with a slash and anything: {name...}, or a slash at the end
)

// ParsePath reads the path of a pattern, which begins with a slash.
func ParsePath(path string) (segments []Segment, end End, rest string, _ error) {
	parts := strings.Split(path, "/")[1:]
	names := map[string]bool{}
	for i, part := range parts {
		last := i == len(parts)-1
		if part == "" && last {
			return segments, More, "", nil
		}
		if !strings.Contains(part, "{") {
			segments = append(segments, NewLiteral(part))
			continue
		}
		name, isRest, err := wildcard(part)
		switch {
		case err != nil:
			return nil, 0, "", err
		case name == "$" && last:
			return segments, Slash, "", nil
		case name == "$":
			return nil, 0, "", errors.New("{$} not at end")
		case isRest && !last:
			return nil, 0, "", errors.New("{...} wildcard not at end")
		case names[name]:
			return nil, 0, "", fmt.Errorf("duplicate wildcard name %q", name)
		case isRest:
			return segments, More, name, nil
		}
		names[name] = true
		segments = append(segments, Segment{Text: part})
	}
	return segments, Exactly, "", nil
}

// NewLiteral gives a segment that is one text, which may be escaped.
func NewLiteral(text string) Segment {
	if decoded, err := url.PathUnescape(text); err == nil {
		return Segment{Literal: decoded, Text: text}
	}
	return Segment{Literal: text, Text: text}
}

// wildcard reads {name}, {name...} or {$}.
func wildcard(segment string) (name string, rest bool, _ error) {
	inner, starts := strings.CutPrefix(segment, "{")
	inner, ends := strings.CutSuffix(inner, "}")
	name, rest = strings.CutSuffix(inner, "...")
	switch {
	case !starts:
		return "", false, errors.New("bad wildcard segment (must start with '{')")
	case !ends:
		return "", false, errors.New("bad wildcard segment (must end with '}')")
	case inner == "$":
		return "$", false, nil
	case name == "":
		return "", false, errors.New("empty wildcard")
	case !IsName(name):
		return "", false, fmt.Errorf("bad wildcard name %q", name)
	}
	return name, rest, nil
}

// IsName reports whether a wildcard can have a name, which is that of a variable in Go.
func IsName(s string) bool { return token.IsIdentifier(s) || token.IsKeyword(s) }

// String gives the pattern as it is written.
func (p *Pattern) String() string {
	if p.Method == "" {
		return p.Host + p.Path()
	}
	return p.Method + " " + p.Host + p.Path()
}

// Path gives the path as it is written.
func (p *Pattern) Path() string {
	var out strings.Builder
	for _, s := range p.Segments {
		out.WriteString("/" + s.Text)
	}
	switch {
	case p.End == Slash:
		out.WriteString("/{$}")
	case p.Rest != "":
		out.WriteString("/{" + p.Rest + "...}")
	case p.End == More:
		out.WriteString("/")
	}
	return out.String()
}

// Key is the same text for patterns that are for the same requests, and for no others.
func (p *Pattern) Key() string {
	var out strings.Builder
	out.WriteString(p.Method + " " + HostKey(p.Host))
	for _, s := range p.Segments {
		out.WriteString("/" + strings.ReplaceAll(s.Literal, "/", "%2F"))
	}
	out.WriteString([]string{"", "/$", "/..."}[p.End]) // no literal is empty, so that none is $ after //
	return out.String()
}

// HostKey is the same text for hosts that differ in the name of their wildcard only.
func HostKey(host string) string {
	if _, domain := SplitHost(host); domain != "" {
		return "{}" + domain
	}
	return host
}

// SplitHost gives the name of the wildcard at the start of a host, and the rest with its
// dot; both are empty if there is none.
func SplitHost(host string) (name, domain string) {
	if !strings.HasPrefix(host, "{") {
		return "", ""
	}
	name, domain, _ = strings.Cut(host[1:], "}")
	return name, domain
}

// Label gives the first label of a host and the rest with its dot; both are empty if it
// has one only, or is an address.
func Label(host string) (label, domain string) {
	if dot := strings.IndexByte(host, '.'); dot > 0 && host[0] != '[' {
		return host[:dot], host[dot:]
	}
	return "", ""
}

// Names gives the names of the wildcards of the path.
func (p *Pattern) Names() []string {
	var names []string
	for _, s := range p.Segments {
		if s.Literal == "" {
			names = append(names, s.Name())
		}
	}
	if p.Rest != "" {
		names = append(names, p.Rest)
	}
	return names
}

// Value gives what the wildcard of a name stands for in a path of the pattern.
func (p *Pattern) Value(path, name string) string {
	for _, s := range p.Segments {
		var segment string
		segment, path = cut(path)
		if s.Literal == "" && s.Name() == name {
			return segment
		}
	}
	if name == p.Rest {
		return strings.TrimPrefix(path, "/")
	}
	return ""
}

// cut gives the first segment of a path and what follows, with its slash.
func cut(path string) (segment, rest string) {
	path = path[1:]
	if slash := strings.IndexByte(path, '/'); slash >= 0 {
		return path[:slash], path[slash:]
	}
	return path, ""
}

// Has reports whether a path of n segments, with a slash at its end or not, can be one of
// the pattern.
func (p *Pattern) Has(n int, slash bool) bool {
	switch p.End {
	case Exactly:
		return n == len(p.Segments) && !slash
	case Slash:
		return n == len(p.Segments) && slash
	default:
		return n > len(p.Segments) || n == len(p.Segments) && slash
	}
}

// Matches reports whether a request is one of the pattern. The path is unescaped.
func (p *Pattern) Matches(method, host, path string) bool {
	if compareMethods(p.Method, method) != Equal && compareMethods(p.Method, method) != Contains ||
		!p.HasHost(host) || !strings.HasPrefix(path, "/") {
		return false
	}
	segments := strings.Split(path, "/")[1:]
	slash := segments[len(segments)-1] == ""
	if slash {
		segments = segments[:len(segments)-1]
	}
	if !p.Has(len(segments), slash) {
		return false
	}
	for i, s := range p.Segments {
		if s.Literal != segments[i] && (s.Literal != "" || segments[i] == "") {
			return false
		}
	}
	return true
}

// HasHost reports whether a host is one of the pattern.
func (p *Pattern) HasHost(host string) bool { return within(compareHosts(host, p.Host)) }

// WildFrom gives the number of segments up to the last literal one.
func (p *Pattern) WildFrom() int {
	n := len(p.Segments)
	for n > 0 && p.Segments[n-1].Literal == "" {
		n--
	}
	return n
}

// Clone gives a copy whose segments can be changed.
func (p Pattern) Clone() Pattern {
	p.Segments = slices.Clone(p.Segments)
	return p
}

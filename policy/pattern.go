package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"scopeward/internal/strictyaml"
)

// Pattern is one pattern of a rule, read only.
type Pattern struct {
	Text   string // as written
	Method string // empty: all
	Host   string // lower case; empty: all
	Path   string
	Pos    strictyaml.Pos
}

// String gives the pattern in the form that ServeMux gets it.
func (p *Pattern) String() string {
	if p.Method == "" {
		return p.Host + p.Path
	}
	return p.Method + " " + p.Host + p.Path
}

// wildcards gives the names of the path's wildcards.
func (p *Pattern) wildcards() []string {
	var names []string
	for segment := range strings.SplitSeq(p.Path, "/") {
		if isWildcard(segment) && segment != "{$}" {
			names = append(names, strings.TrimSuffix(segment[1:len(segment)-1], "..."))
		}
	}
	return names
}

// admitsSlashes reports whether each encoded slash of a path that matches lies
// within a wildcard for one segment.
func (p *Pattern) admitsSlashes(path Path) bool {
	pattern := strings.Split(p.Path, "/")
	for i, segment := range strings.Split(path.canonical, "/") {
		if !strings.Contains(segment, encodedSlash) {
			continue
		}
		if i >= len(pattern) || !isWildcard(pattern[i]) || pattern[i] == "{$}" || strings.HasSuffix(pattern[i], "...}") {
			return false
		}
	}
	return true
}

func isWildcard(segment string) bool {
	return strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "}")
}

// parsePattern reads `[METHOD ][HOST]/PATH` and refuses what could never match
// a canonical request. The syntax of wildcards is left to ServeMux.
func parsePattern(text strictyaml.Located[string]) (*Pattern, error) {
	p := &Pattern{Text: text.Value, Pos: text.Pos}
	rest := text.Value
	if err := checkForeign(rest); err != nil {
		return nil, err
	}
	if strings.ContainsAny(rest, " \t") {
		var ok bool
		p.Method, rest, ok = strings.Cut(rest, " ")
		if !ok || strings.ContainsAny(rest, " \t") {
			return nil, fmt.Errorf("pattern %q must be [METHOD ][HOST]/PATH with one space: for several patterns write a list, and %%20 for a space in the path", p.Text)
		}
		if err := checkMethod(p.Method); err != nil {
			return nil, err
		}
	}
	if strings.Contains(rest, "://") {
		return nil, fmt.Errorf("pattern %q has a scheme: write host/path", p.Text)
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return nil, fmt.Errorf("pattern %q has no path: it needs a /", p.Text)
	}
	host, path := rest[:slash], rest[slash:]
	if err := checkPatternPath(path); err != nil {
		return nil, fmt.Errorf("pattern %q can never match: %w", p.Text, err)
	}
	canonical, err := canonicalHost(host)
	switch {
	case strings.Contains(host, "*"):
		return nil, fmt.Errorf("pattern %q has a * in its host: hosts are compared whole; leave the host out to match all", p.Text)
	case strings.Contains(host, "{"):
		return nil, fmt.Errorf("pattern %q has a wildcard in its host: only the path can have them (missing / at the start?)", p.Text)
	case err != nil:
		return nil, fmt.Errorf("pattern %q can never match: %w", p.Text, err)
	case strings.Contains(strings.TrimPrefix(host, canonical), ":") && !strings.HasPrefix(host, "["), strings.Contains(host, "]:"):
		return nil, fmt.Errorf("pattern %q has a port: hosts are compared without", p.Text)
	}
	p.Host, p.Path = canonical, path
	return p, nil
}

// checkMethod refuses what is no method, or hardly the one that was meant.
// Methods are case-sensitive (RFC 9110 §9.1).
func checkMethod(method string) error {
	upper := strings.ToUpper(method)
	switch {
	case !methodForm.MatchString(upper):
		return fmt.Errorf("%q is not a method; for several methods write a list of patterns", method)
	case method != upper:
		return fmt.Errorf("method %q must be upper case; did you mean %s?", method, upper)
	case isKnownMethod(method):
		return nil
	}
	if near := strictyaml.Nearest(method, knownMethods()); near != "" && len(near)-len(method) <= 1 && len(method)-len(near) <= 1 {
		return fmt.Errorf("unknown method %q; did you mean %s?", method, near)
	}
	return nil
}

// methodForm is that of all methods that anybody uses. RFC 9110 would take GET|POST for one.
var methodForm = regexp.MustCompile(`^[A-Z][A-Z0-9_-]*$`)

func knownMethods() []string {
	return []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
}

func isKnownMethod(method string) bool { return slices.Contains(knownMethods(), method) }

// checkPatternPath holds the literal segments of a pattern to the rules for
// paths, as a request that could match would be refused.
func checkPatternPath(path string) error {
	if strings.ContainsAny(path, "?#") {
		return &RequestError{"a pattern has no query and no fragment"}
	}
	literal := strings.Split(path, "/")
	for i, segment := range literal {
		if strings.Contains(segment, "{") {
			literal[i] = "x" // any that is no dot
		}
	}
	canonical, err := newPath(strings.Join(literal, "/"))
	switch {
	case err != nil:
		return err
	case canonical.encodedSlash:
		return &RequestError{"an encoded slash can only be within a {wildcard}"}
	case canonical.escapedUnreserved:
		return &RequestError{"it escapes a character that needs no escape, such as %61 for a"}
	}
	return nil
}

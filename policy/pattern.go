package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"scopeward/internal/strictyaml"
	"scopeward/policy/pattern"
)

// Pattern is one pattern of a rule, read only.
type Pattern struct {
	pattern.Pattern
	Text string // as written
	Pos  strictyaml.Pos
}

// wildcards gives the variables that the pattern gives to conditions.
func (p *Pattern) wildcards() []string {
	var names []string
	for _, name := range p.Names() {
		names = append(names, "path."+name)
	}
	if name, _ := pattern.SplitHost(p.Host); name != "" {
		names = append(names, "host."+name)
	}
	return names
}

// value gives a variable of wildcards for a request that the pattern matches.
func (p *Pattern) value(r *Request, variable string) string {
	name, ofPath := strings.CutPrefix(variable, "path.")
	if !ofPath {
		label, _ := pattern.Label(r.Host)
		return label
	}
	value := p.Value(r.Path.canonical, name)
	if r.Path.encodedSlash {
		value = strings.ReplaceAll(value, encodedSlash, "/")
	}
	return value
}

// admitsSlashes reports whether each encoded slash of a path that matches lies
// within a wildcard for one segment.
func (p *Pattern) admitsSlashes(path Path) bool {
	for i, segment := range strings.Split(path.canonical, "/")[1:] {
		if strings.Contains(segment, encodedSlash) && (i >= len(p.Segments) || p.Segments[i].Literal != "") {
			return false
		}
	}
	return true
}

// parsePattern reads `[METHOD ][HOST]/PATH` and refuses what could never match
// a canonical request.
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
	var err error
	if p.Host, err = patternHost(host); err != nil {
		return nil, fmt.Errorf("pattern %q %w", p.Text, err)
	}
	if p.Segments, p.End, p.Rest, err = pattern.ParsePath(path); err != nil {
		return nil, fmt.Errorf("pattern %q: %w", p.Text, err)
	}
	return p, nil
}

// patternHost makes the host of a pattern canonical. It may begin with a wildcard for one
// label. The error goes on after the pattern.
func patternHost(host string) (string, error) {
	name, domain := pattern.SplitHost(host)
	literal := host
	if domain != "" {
		literal = "x" + domain
	}
	canonical, err := canonicalHost(literal)
	switch {
	case strings.Contains(host, "*"):
		return "", fmt.Errorf("has a * in its host: write {name}%s for any one label, or leave the host out to match all", strings.TrimLeft(host, "*"))
	case strings.HasPrefix(host, "{") && !strings.HasPrefix(domain, "."), strings.ContainsAny(literal, "{}"):
		return "", errors.New("has a wildcard in its host that is not its whole first label, as in {tenant}.example.com (missing / at the start?)")
	case domain != "" && !pattern.IsName(name):
		return "", fmt.Errorf("has %q for a wildcard in its host: a name has letters, digits and underscores", "{"+name+"}")
	case err != nil:
		return "", fmt.Errorf("can never match: %w", err)
	case strings.Contains(strings.TrimPrefix(literal, canonical), ":") && !strings.HasPrefix(host, "["), strings.Contains(host, "]:"):
		return "", errors.New("has a port: hosts are compared without")
	case domain != "":
		return "{" + name + "}" + strings.TrimPrefix(canonical, "x"), nil
	}
	return canonical, nil
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

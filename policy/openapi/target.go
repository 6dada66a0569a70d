package openapi

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"scopeward/policy"
	"scopeward/policy/pattern"
)

// target is where the requests of an operation go: a pattern without a method, and what
// of a path the pattern cannot say.
type target struct {
	pattern.Pattern
	guards  []guard
	partial string // why nothing can say it
}

// guard is what a condition asks of a request besides its pattern: that a segment has the
// form `{Sid}.json`, or that the query has a parameter.
type guard struct {
	fromEnd int      // of a segment: 1 is the last
	pieces  []string // the text before, between and after its parameters

	name, value string // of a parameter of the query
	any         bool   // whatever its value
}

// pathTargets is a path without servers.
func pathTargets(path string) []target { return []target{server{}.join(path)} }

// server is the base of an operation's address.
type server struct {
	host string
	path string // without a slash at its end
}

// join gives the target of a path below the server.
func (s server) join(path string) target {
	t := target{Pattern: pattern.Pattern{Host: s.host}}
	path, _, _ = strings.Cut(path, "#") // tells operations of one address apart
	path, query, hasQuery := strings.Cut(path, "?")
	if hasQuery {
		t.query(query)
	}
	whole := s.path + path
	names := map[string]int{}
	parts := strings.Split(strings.Trim(whole, "/"), "/")
	if strings.HasSuffix(whole, "/") || whole == "" {
		t.End = pattern.Slash
	}
	for i, part := range parts {
		pieces, inner, err := readSegment(part)
		switch {
		case part == "" && len(parts) == 1:
		case err != "":
			t.partial = fmt.Sprintf("%s %s", strconv.Quote(printable(part)), err)
			t.Segments = append(t.Segments, wildcard(inner, names))
		case pieces == nil:
			t.Segments = append(t.Segments, literal(part))
		default:
			if strings.Join(pieces, "") != "" || len(pieces) > 2 {
				t.guards = append(t.guards, guard{fromEnd: len(parts) - i, pieces: pieces})
			}
			t.Segments = append(t.Segments, wildcard(inner, names))
		}
	}
	return t
}

func wildcard(name string, taken map[string]int) pattern.Segment {
	return pattern.Segment{Text: "{" + wildcardName(name, taken) + "}"}
}

// readSegment gives the text around the parameters of a segment, nil if it has none, and
// the names of these; or in words why it can't.
func readSegment(segment string) (pieces []string, names, why string) {
	if !strings.ContainsAny(segment, "{}") {
		return nil, "", ""
	}
	rest := segment
	for {
		before, after, found := strings.Cut(rest, "{")
		if decoded, err := url.PathUnescape(before); err == nil {
			before = decoded
		}
		if pieces = append(pieces, before); strings.Contains(before, "}") {
			return nil, segment, "has a } without a {"
		}
		if !found {
			return pieces, names, ""
		}
		name, next, closed := strings.Cut(after, "}")
		switch {
		case !closed || strings.Contains(name, "{"):
			return nil, segment, "has a { without a }"
		case name == "":
			return nil, segment, "has a parameter without a name"
		case strings.ContainsAny(name, "*+"):
			return nil, segment, "may stand for several segments, and OpenAPI does not say which"
		case names != "":
			names += "_"
		}
		names += name
		rest = next
	}
}

// query makes guards of the query of a path.
func (t *target) query(query string) {
	for parameter := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(parameter, "=")
		g := guard{name: name, value: value, any: strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}")}
		for _, text := range []*string{&g.name, &g.value} {
			decoded, err := url.QueryUnescape(*text)
			if err != nil || strings.ContainsAny(*text, "{}") && (text == &g.name || !g.any) {
				t.partial = fmt.Sprintf("the query %s is a template, which no condition can read", strconv.Quote(printable(query)))
				return
			}
			*text = decoded
		}
		if g.name == "" {
			t.partial = "the path has a query without a name"
			return
		}
		t.guards = append(t.guards, g)
	}
}

// condition writes a guard in CEL, for a pattern with these segments.
func (g guard) condition(segments []pattern.Segment) string {
	if g.pieces == nil {
		name := strconv.Quote(g.name)
		if g.any {
			return name + " in request.query"
		}
		return name + " in request.query && request.query[" + name + "] == [" + strconv.Quote(g.value) + "]"
	}
	of := "path." + segments[len(segments)-g.fromEnd].Name()
	if len(g.pieces) > 2 {
		return of + ".matches(" + strconv.Quote(g.form()) + ")"
	}
	var all []string
	if g.pieces[0] != "" {
		all = append(all, of+".startsWith("+strconv.Quote(g.pieces[0])+")")
	}
	if g.pieces[1] != "" {
		all = append(all, of+".endsWith("+strconv.Quote(g.pieces[1])+")")
	}
	return strings.Join(append(all, fmt.Sprintf("size(%s) > %d", of, len([]rune(g.pieces[0]+g.pieces[1])))), " && ")
}

func (g guard) form() string {
	quoted := make([]string, len(g.pieces))
	for i, piece := range g.pieces {
		quoted[i] = regexp.QuoteMeta(piece)
	}
	return "^" + strings.Join(quoted, ".+") + "$"
}

// fits reports whether a segment has the form.
func (g guard) fits(segment string) bool { return regexp.MustCompile(g.form()).MatchString(segment) }

// conditions writes all guards in CEL; "" is true. It is false if no request of a pattern
// with these segments has them.
func conditions(guards []guard, segments []pattern.Segment) (words string, possible bool) {
	var all []string
	for _, g := range guards {
		if g.pieces != nil {
			if text := segments[len(segments)-g.fromEnd].Literal; text != "" {
				if !g.fits(text) {
					return "", false
				}
				continue
			}
		}
		all = append(all, g.condition(segments))
	}
	return strings.Join(all, " && "), true
}

// examplePath gives a path, with its query, that the pattern and the guards stand for. It is
// false if there is none.
func examplePath(p *pattern.Pattern, guards []guard, value string) (string, bool) {
	segments := make([]string, len(p.Segments))
	for i, s := range p.Segments {
		segments[i] = s.Literal
		if s.Literal == "" {
			segments[i] = value
		}
	}
	var query []string
	for _, g := range guards {
		if g.pieces == nil {
			if g.any {
				g.value = value
			}
			query = append(query, url.QueryEscape(g.name)+"="+url.QueryEscape(g.value))
			continue
		}
		at := len(segments) - g.fromEnd
		if p.Segments[at].Literal == "" {
			segments[at] = strings.Join(g.pieces, value)
		} else if !g.fits(segments[at]) {
			return "", false
		}
	}
	for i, segment := range segments {
		segments[i] = url.PathEscape(segment)
	}
	path := "/" + strings.Join(segments, "/")
	if p.End != pattern.Exactly && len(segments) > 0 {
		path += "/"
	}
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	return path, true
}

// literal writes a segment in the form of patterns.
func literal(segment string) pattern.Segment {
	plain := func(r rune) bool { return r > ' ' && r <= '~' && r != '%' }
	if decoded, err := url.PathUnescape(segment); err == nil && strings.ContainsFunc(segment, func(r rune) bool { return !plain(r) }) {
		segment = url.PathEscape(decoded)
	}
	return pattern.NewLiteral(policy.EscapeLiteral(segment))
}

// wildcardName makes a parameter's name an identifier that the pattern has once.
func wildcardName(name string, taken map[string]int) string {
	name = strings.Map(func(r rune) rune {
		if r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}, name)
	for strings.Contains(name, "__") {
		name = strings.ReplaceAll(name, "__", "_")
	}
	if strings.Trim(name, "_") == "" {
		name = "parameter"
	}
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	taken[name]++
	if n := taken[name]; n > 1 {
		return wildcardName(name+"_"+strconv.Itoa(n), taken)
	}
	return name
}

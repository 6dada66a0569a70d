package doctor

import (
	"regexp"
	"strings"
)

// narrow reports whether only one path matches, however it is written.
func (l leaf) narrow() bool { return l.route.get("match", "path").exists() }

// match says in words which requests a route takes.
func match(route *node) string {
	m := route.get("match")
	for _, kind := range []string{"prefix", "path", "path_separated_prefix"} {
		if v := m.get(kind).text(); v != "" {
			return strings.ReplaceAll(kind, "_", " ") + " " + v
		}
	}
	if v := m.get("safe_regex", "regex").text(); v != "" {
		return "regex " + v
	}
	return ""
}

// pathMatch is what a route asks of paths. Large meshes have thousands of routes, each
// held against each other, so it is read once.
type pathMatch struct {
	kind          string // prefix, path, path_separated_prefix, safe_regex, or "" where it is not understood
	value         string // in lower case if case does not matter
	regex         *regexp.Regexp
	insensitive   bool
	unconditional bool // nothing but the path matters
}

func readMatch(route *node) pathMatch {
	m := route.get("match")
	sensitive := m.get("case_sensitive")
	p := pathMatch{insensitive: sensitive.exists() && !sensitive.yes(), unconditional: true}
	for key, v := range m.entries() {
		switch key {
		case "prefix", "path", "path_separated_prefix", "pathSeparatedPrefix":
			p.kind, p.value = key, v.text()
			if key == "pathSeparatedPrefix" {
				p.kind = "path_separated_prefix"
			}
		case "safe_regex", "safeRegex":
			p.kind, p.value = "safe_regex", v.get("regex").text()
			p.regex, _ = regexp.Compile("^(?:" + p.value + ")$")
		case "case_sensitive", "caseSensitive":
		default:
			p.unconditional = false
		}
	}
	if p.insensitive && p.regex == nil {
		p.value = strings.ToLower(p.value)
	}
	return p
}

// everything reports whether all paths are taken.
func (p pathMatch) everything() bool { return p.kind == "prefix" && (p.value == "" || p.value == "/") }

// covers reports whether a match takes each request that another takes. One that is not
// understood covers nothing.
func (p pathMatch) covers(other pathMatch) bool {
	v := other.value
	switch {
	case !p.unconditional || other.kind == "":
		return false
	case p.everything():
		return true
	case p.kind == "safe_regex" || other.kind == "safe_regex":
		return p.kind == other.kind && p.value == v
	case p.insensitive:
		v = strings.ToLower(v)
	case other.insensitive:
		return false
	}
	switch p.kind {
	case "prefix":
		return strings.HasPrefix(v, p.value)
	case "path":
		return other.kind == "path" && v == p.value
	case "path_separated_prefix":
		return strings.HasPrefix(v, p.value+"/") || other.kind != "prefix" && v == p.value
	}
	return false
}

// takes reports whether a path is taken, without a look at other conditions. known is
// false if it can't be told.
func (p pathMatch) takes(path string) (taken, known bool) {
	if p.insensitive {
		path = strings.ToLower(path)
	}
	switch p.kind {
	case "prefix":
		return strings.HasPrefix(path, p.value), true
	case "path":
		return path == p.value, true
	case "path_separated_prefix":
		return strings.HasPrefix(path, p.value) && (len(path) == len(p.value) || path[len(p.value)] == '/'), true
	case "safe_regex":
		return p.regex != nil && p.regex.MatchString(path), p.regex != nil
	}
	return false, false
}

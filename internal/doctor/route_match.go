package doctor

import (
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

// pathKinds are the fields of a RouteMatch that compare paths.
func pathKinds() []string {
	return []string{"prefix", "path", "path_separated_prefix", "safe_regex", "path_match_policy"}
}

// unconditional reports whether a route looks at the path alone.
func unconditional(route *node) bool {
	for key := range route.get("match").entries() {
		switch key {
		case "prefix", "path", "path_separated_prefix", "pathSeparatedPrefix", "safe_regex", "safeRegex", "case_sensitive", "caseSensitive":
		default:
			return false
		}
	}
	return true
}

// firstThatTakesAll gives the first of the earlier routes that takes all requests that
// a route could take, so that nothing reaches it; nil if none does.
func firstThatTakesAll(earlier []*node, route *node) *node {
	for _, e := range earlier {
		if unconditional(e) && covers(e.get("match"), route.get("match")) {
			return e
		}
	}
	return nil
}

// covers reports whether a RouteMatch takes each path that another takes. One that is
// not understood covers nothing.
func covers(wide, narrow *node) bool {
	if narrow.get("connect_matcher").exists() {
		return false
	}
	insensitive := !caseSensitive(wide)
	if !insensitive && !caseSensitive(narrow) {
		return wide.get("prefix").value == "/" || wide.get("prefix").value == ""
	}
	of := func(m *node, kind string) (string, bool) {
		v := m.get(kind)
		if insensitive {
			return strings.ToLower(v.text()), v.exists()
		}
		return v.text(), v.exists()
	}
	prefix, hasPrefix := of(wide, "prefix")
	path, hasPath := of(wide, "path")
	separated, hasSeparated := of(wide, "path_separated_prefix")
	regex := wide.get("safe_regex", "regex").text()
	for _, kind := range []string{"prefix", "path", "path_separated_prefix"} {
		v, ok := of(narrow, kind)
		switch {
		case !ok:
		case hasPrefix:
			return strings.HasPrefix(v, prefix)
		case hasPath:
			return kind == "path" && v == path
		case hasSeparated:
			return strings.HasPrefix(v, separated+"/") || kind != "prefix" && v == separated
		}
	}
	return hasPrefix && (prefix == "/" || prefix == "") || regex != "" && regex == narrow.get("safe_regex", "regex").text()
}

func caseSensitive(match *node) bool {
	at := match.get("case_sensitive")
	return !at.exists() || at.yes()
}

// takes reports whether a RouteMatch takes a path, without a look at its other
// conditions. known is false if it can't be told.
func takes(match *node, path string) (taken, known bool) {
	fold := func(s string) string {
		if caseSensitive(match) {
			return s
		}
		return strings.ToLower(s)
	}
	got := fold(path)
	for _, kind := range pathKinds() {
		v := match.get(kind)
		if !v.exists() {
			continue
		}
		want := fold(v.text())
		switch kind {
		case "prefix":
			return strings.HasPrefix(got, want), true
		case "path":
			return got == want, true
		case "path_separated_prefix":
			return got == want || strings.HasPrefix(got, want+"/"), true
		case "safe_regex":
			return matchesRegex(v, path), true
		}
	}
	return false, false
}

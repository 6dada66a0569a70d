package doctor

import (
	"fmt"
	"regexp"
	"strings"
)

// prefixRewrite finds rewrites that make . and .. segments, or empty ones, of a path
// that has none. It tries paths that each route takes.
func prefixRewrite(e *subject, report reporter) {
	e.eachAsking(func(m *manager) {
		for _, l := range m.leaves {
			rewrite := rewriteOf(l.route)
			if rewrite.apply == nil {
				continue
			}
			for _, path := range samplesOf(l, rewrite.pattern) {
				after, ok := rewrite.apply(path)
				if !ok || !ambiguous(after) {
					continue
				}
				report(rewrite.at, fmt.Sprintf("%s meets this route, and reaches the service as %s: the path leads elsewhere after Scopeward has decided about it.", path, after), rewrite.fix)
				break
			}
		}
	})
}

// rewrite is what a route does to paths.
type rewrite struct {
	at      *node
	pattern string                                    // of the paths that it changes, "" for all
	apply   func(path string) (after string, ok bool) // nil if it leaves them as they are
	fix     string
}

func rewriteOf(route *node) rewrite {
	action := route.get("route")
	if at := action.get("prefix_rewrite"); at.text() != "" {
		match := route.get("match")
		prefix := match.get("prefix").text()
		if separated := match.get("path_separated_prefix"); separated.exists() {
			prefix = separated.text()
		}
		return rewrite{at, "", func(path string) (string, bool) {
			if len(path) < len(prefix) || !match.get("prefix").exists() && !match.get("path_separated_prefix").exists() {
				return "", false // of another kind of match all is replaced
			}
			return at.text() + path[len(prefix):], true
		}, fmt.Sprintf("match: {path_separated_prefix: %s}, and a rewrite without a slash at its end    # a whole segment", strings.TrimRight(prefix, "/"))}
	}
	const fix = "let the pattern end where a segment does: ^/api(/.*)?$ with the substitution \\1"
	if at := action.get("regex_rewrite"); at.exists() {
		pattern := at.get("pattern", "regex").text()
		re, err := regexp.Compile(pattern)
		if err != nil {
			return rewrite{}
		}
		to := substitution(at.get("substitution").text())
		return rewrite{at, pattern, func(path string) (string, bool) {
			after := re.ReplaceAllString(path, to)
			return after, after != path
		}, fix}
	}
	if at := action.get("path_rewrite_policy"); at.exists() {
		if _, fields := at.get("typed_config").typed(); loose(fields.get("path_template_rewrite").text()) {
			return rewrite{at, "", func(string) (string, bool) { return "/../x", true }, "let each variable of the template be a whole segment: /a/{b}"}
		}
	}
	return rewrite{}
}

// substitution writes one of RE2's, with \1, as one of Go's.
func substitution(to string) string {
	to = strings.ReplaceAll(to, "$", "$$")
	return regexp.MustCompile(`\\(\d)`).ReplaceAllString(to, "$${$1}")
}

// loose reports whether a URI template has a variable that is not a whole segment.
func loose(template string) bool {
	for i, c := range template {
		switch {
		case c == '{' && (i == 0 || template[i-1] != '/'), c == '}' && i+1 < len(template) && template[i+1] != '/':
			return true
		}
	}
	return false
}

// samplesOf gives paths that a route takes, which Scopeward would not refuse.
func samplesOf(l leaf, pattern string) (paths []string) {
	match := l.route.get("match")
	var bases []string
	for _, wildcard := range []string{"x", "../x", "./x", "/x", ".."} {
		bases = append(bases, sample(pattern, wildcard), sample(match.get("safe_regex", "regex").text(), wildcard))
	}
	bases = append(bases, match.get("prefix").text(), match.get("path").text(), match.get("path_separated_prefix").text())
	for _, end := range []string{"", "../x", "./x", "/x", "..", "/../x"} {
		for _, base := range bases {
			path := base + end
			taken, known := l.match.takes(path)
			if strings.HasPrefix(path, "/") && (taken || !known) && !ambiguous(path) {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// ambiguous reports whether a path has segments that servers drop or resolve.
func ambiguous(path string) bool {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		if s == "." || s == ".." || s == "" && i < len(segments)-1 {
			return true
		}
	}
	return false
}

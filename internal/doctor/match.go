package doctor

import (
	"regexp"
	"slices"
	"strings"
)

// matches reports whether a StringMatcher takes a text. One that is not understood
// takes it not.
func matches(matcher *node, s string) bool {
	if matcher.get("ignore_case").yes() {
		s = strings.ToLower(s)
	}
	is := func(kind string) (string, bool) {
		v := matcher.get(kind)
		if matcher.get("ignore_case").yes() {
			return strings.ToLower(v.text()), v.exists()
		}
		return v.text(), v.exists()
	}
	if v, ok := is("exact"); ok {
		return s == v
	}
	if v, ok := is("prefix"); ok {
		return strings.HasPrefix(s, v)
	}
	if v, ok := is("suffix"); ok {
		return strings.HasSuffix(s, v)
	}
	if v, ok := is("contains"); ok {
		return strings.Contains(s, v)
	}
	return matchesRegex(matcher.get("safe_regex"), s)
}

// matchesRegex reports whether a RegexMatcher takes a text, all of it. Go's regular
// expressions are RE2's.
func matchesRegex(matcher *node, s string) bool {
	pattern := matcher.get("regex").text()
	if pattern == "" {
		return false
	}
	re, err := regexp.Compile(`^(?:` + pattern + `)$`)
	return err == nil && re.MatchString(s)
}

// matchesAny reports whether one of a ListStringMatcher's patterns takes a text.
func matchesAny(list *node, s string) bool {
	return slices.ContainsFunc(list.get("patterns").items(), func(m *node) bool { return matches(m, s) })
}

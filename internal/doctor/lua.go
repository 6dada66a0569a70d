package doctor

import (
	"regexp"
	"slices"
	"strings"
)

// luaTouches reports whether the inline code of a Lua filter does something to a
// header of requests.
func luaTouches(m *manager, f filter, verbs, names string) bool {
	change := regexp.MustCompile(`:\s*(` + verbs + `)\s*\(\s*["'](?i:` + names + `)["']`)
	return slices.ContainsFunc(lua(m, f), func(code string) bool {
		return strings.Contains(code, "envoy_on_request") && change.MatchString(code)
	})
}

// lua gives the inline code of a Lua filter, and that of its routes, without
// comments.
func lua(m *manager, f filter) []string {
	if f.message != luaFilter {
		return nil
	}
	places := []*node{f.config}
	for _, l := range m.leaves {
		places = append(places, l.perFilter(f.name)...)
	}
	comment := regexp.MustCompile(`(?s)--\[\[.*?\]\]|--[^\n]*`)
	var code []string
	for _, place := range places {
		for n := range place.all() {
			switch n.key {
			case "inline_string", "inlineString", "inline_code", "inlineCode":
				code = append(code, comment.ReplaceAllString(n.text(), ""))
			}
		}
	}
	return code
}

// luaSetsToken reports whether the inline code of a Lua filter puts a token into
// requests that it has not taken from them.
func luaSetsToken(m *manager, f filter) bool {
	set := regexp.MustCompile(`:\s*(replace|add)\s*\(\s*["'](?i:authorization)["']\s*,\s*(.*)`)
	literal := regexp.MustCompile(`^("[^"]*"|'[^']*')\s*\)`)
	reads := regexp.MustCompile(`:\s*(get|getAtIndex|path)\s*\(`)
	return slices.ContainsFunc(lua(m, f), func(code string) bool {
		return strings.Contains(code, "envoy_on_request") && slices.ContainsFunc(set.FindAllStringSubmatch(code, -1), func(call []string) bool {
			return literal.MatchString(call[2]) || !reads.MatchString(code)
		})
	})
}

// luaUnread reports whether a Lua filter, or a route of it, has code that is in no
// inline string.
func luaUnread(m *manager, f filter) bool {
	if f.message != luaFilter {
		return false
	}
	places := []*node{f.config}
	for _, l := range m.leaves {
		places = append(places, l.perFilter(f.name)...)
	}
	return slices.ContainsFunc(places, func(place *node) bool {
		for n := range place.all() {
			if n.key == "filename" || n.key == "environment_variable" || n.key == "environmentVariable" {
				return true
			}
		}
		return false
	})
}

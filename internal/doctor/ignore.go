package doctor

import (
	"slices"
	"strings"
)

// metadataKey is where a configuration says what is meant to be so.
const metadataKey = "scopeward.doctor"

// ignores are what the metadata silences, with whether it did, by path.
type ignores struct {
	all  []*node // reasons, by the name of a check
	used map[string]bool
}

func (e *subject) ignores() *ignores {
	in := &ignores{used: map[string]bool{}}
	for _, part := range slices.Concat(e.listeners, e.clusters, e.routes) {
		for n := range part.all() {
			for _, reason := range n.get("filter_metadata", metadataKey).entries() {
				in.all = append(in.all, reason)
			}
		}
	}
	return in
}

// silence reports whether metadata of something around a place silences a check.
func (in *ignores) silence(check string, at *node) bool {
	for n := range at.ancestors() {
		reason := n.get("metadata", "filter_metadata", metadataKey, check)
		if strings.TrimSpace(reason.text()) != "" {
			in.used[reason.path()] = true
			return true
		}
	}
	return false
}

// findings are about metadata that silences nothing, of the checks that were run.
func (in *ignores) findings(o Options, report func(name string, at *node, why, fix string)) {
	checks := Checks()
	for _, reason := range in.all {
		known := slices.ContainsFunc(checks, func(c Check) bool { return c.Name == reason.key })
		switch {
		case !known:
			report(badIgnore, reason, "There is no check of this name: it silences nothing.", "scopeward doctor --list    # has the names")
		case strings.TrimSpace(reason.text()) == "":
			report(badIgnore, reason, "It gives no reason: it silences nothing.", reason.key+`: "why this is meant to be so"`)
		case !in.used[reason.path()] && !slices.Contains(o.Ignore, reason.key):
			report(unusedIgnore, reason, "The check finds nothing here any more.", "remove it")
		}
	}
}

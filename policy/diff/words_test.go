package diff

import (
	"fmt"
	"strings"
	"testing"

	"scopeward/policy"
)

func TestPairString(t *testing.T) {
	for _, test := range [][3]string{
		{"/a/{id}", "/a/{user}", "/a/{user}"},
		{"/a/{id}", "/{x}/b", "/a/b"},
		{"GET /a/b", "host.test/a/{x}", "GET host.test/a/b"},
		{"GET /a", "HEAD /a", "HEAD /a"},
		{"/a/b/c", "/a/{rest...}", "/a/b/c"},
		{"/a/{rest...}", "/{x}/b/{y}", "/a/b/{y}"},
		{"/a/{$}", "/a/{rest...}", "/a/{$}"},
		{"/{rest...}", "/a/", "/a/"},
		{"/", "/{$}", "/{$}"},
		{"/a/b", "/", "/a/b"},
		{"/", "/a/b", "/a/b"},
	} {
		pattern := func(text string) *policy.Pattern {
			return mustParse(t, rules(fmt.Sprintf("{match: %q}", text))).Patterns("")[0]
		}
		if got := (pair{old: pattern(test[0]), new: pattern(test[1])}).String(); got != test[2] {
			t.Errorf("%s and %s: got %s, want %s", test[0], test[1], got, test[2])
		}
	}
}

// TestMarkdownIsNoMarkup: what a policy says stays within code spans and cells.
func TestMarkdownIsNoMarkup(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "`plain`", "a || b": "`a \\|\\| b`", "a`b": "`` a`b ``", "``<img>": "``` ``<img> ```",
	} {
		if got := code(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	var many []string
	for i := range 150 {
		many = append(many, fmt.Sprintf("{match: /r%d, scopes: [s]}", i))
	}
	var out strings.Builder
	if err := Compare(mustParse(t, rules("{match: /x}")), mustParse(t, rules(many...)), Options{}).Markdown(&out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "and 51 more: run") || len(got) > 60_000 {
		t.Errorf("a comment of %d bytes: %.200s", len(got), got)
	}
}

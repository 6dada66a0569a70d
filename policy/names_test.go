package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNames(t *testing.T) {
	set, err := Parse(
		File{"b.yaml", []byte("version: 1\nrules: [{match: [/z, /a]}]")},
		File{"a.yaml", []byte("version: 1\nname: internal\nrules: [{match: /x, when: 'true'}]")},
	)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b", "internal"}, set.Names()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for name, want := range map[string][]string{"": {"/z", "/a"}, "b": {"/z", "/a"}, "internal": {"/x"}, "a": nil} {
		var got []string
		for _, p := range set.Patterns(name) {
			got = append(got, p.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -want +got:\n%s", name, diff)
		}
	}
	if set.Rules()[0].Condition() != nil {
		t.Error("a rule without a condition has one")
	}
	if set.Rules()[1].Condition() == nil {
		t.Error("a rule with a condition has none")
	}
}

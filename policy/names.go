package policy

import (
	"cmp"
	"maps"
	"slices"

	"scopeward/policy/condition"
)

// Names gives the names that requests can ask for, sorted: those of `name:` keys
// and the base names of files without one. The default policy has none.
func (s *Set) Names() []string {
	names := slices.Sorted(maps.Keys(s.tables))
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// Patterns gives the patterns of the policy called name, in the order of their
// positions; "" is the default policy.
func (s *Set) Patterns(name string) []*Pattern {
	t := s.tables[name]
	if t == nil {
		return nil
	}
	patterns := make([]*Pattern, len(t.patterns))
	for i, r := range t.patterns {
		patterns[i] = r.pattern
	}
	slices.SortFunc(patterns, func(a, b *Pattern) int {
		return cmp.Or(cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
	return patterns
}

// Condition gives the rule's `when`, compiled and type-checked; nil if it has none.
func (r *Rule) Condition() *condition.Condition {
	if r.condition == nil {
		return nil
	}
	return r.condition.read
}

// MayExceed reports whether there may be a request for which the rule's condition costs
// more than an evaluation may, which denies.
func (r *Rule) MayExceed() bool { return r.condition != nil && r.condition.read.MayExceed(maxCost) }

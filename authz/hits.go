package authz

import (
	"slices"
	"strings"
	"sync/atomic"

	"scopeward/policy"
)

// hits counts the requests that a rule met.
type hits struct{ all, denied, wouldBe atomic.Uint64 }

func (h *hits) note(v verdict) {
	h.all.Add(1)
	if v.code != codeAllow {
		h.denied.Add(1)
	}
	if v.wouldBe != 0 {
		h.wouldBe.Add(1)
	}
}

// RuleHits is what a rule met since the process began, or it was added to the policy.
type RuleHits struct {
	Rule    *policy.Rule // nil: requests that no rule matches
	All     uint64
	Denied  uint64 // got another answer than allow
	WouldBe uint64 // were let through only since the rule has mode: audit
}

// Hits gives the counts of all rules in the order of the files, then of none.
func (s *Snapshot) Hits() []RuleHits {
	var list []RuleHits
	for _, rule := range s.counted() {
		h := s.hits[rule]
		list = append(list, RuleHits{rule, h.all.Load(), h.denied.Load(), h.wouldBe.Load()})
	}
	return list
}

// countOn makes the counts; a rule that was there before, by its name and patterns, goes
// on with its own.
func (s *Snapshot) countOn(before *Snapshot) {
	known := map[string]*hits{}
	if before != nil {
		for rule, h := range before.hits {
			known[countedAs(rule)] = h
		}
	}
	counts := map[*policy.Rule]*hits{}
	for _, rule := range s.counted() {
		if counts[rule] = known[countedAs(rule)]; counts[rule] == nil {
			counts[rule] = &hits{}
		}
	}
	s.hits = counts
}

// counted are the rules, and nil for none of them.
func (s *Snapshot) counted() []*policy.Rule {
	if s.Policy == nil {
		return []*policy.Rule{nil}
	}
	return append(slices.Clip(s.Policy.Rules()), nil)
}

func countedAs(rule *policy.Rule) string {
	if rule == nil {
		return ""
	}
	parts := []string{rule.Policy, rule.Name}
	for _, p := range rule.Patterns {
		parts = append(parts, p.Text)
	}
	return strings.Join(parts, "\n")
}

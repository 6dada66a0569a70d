// Package diff compares two policies by what they let in: which requests open up,
// which close, and for whom.
//
// It is sound: if it says that nothing opens, no request with any token or none
// passes by the new policy that does not pass by the old one. Requests are
// compared over all that the patterns of both policies can tell apart (see
// explorer), as policy.Set.Match answers them; what a rule asks for is compared as a
// formula (see need), exactly for scopes. Conditions are compared by their form,
// part by part, after a normalisation; where that does not prove that the new
// one lets in no more, it may open, and counts as opening. So does what the old
// condition may deny because its evaluation costs too much.
//
// It says that something opens, or closes, only if it has found a request and a token
// for which both policies decide so (see search).
package diff

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
)

// Effect says whether something happens. The zero value is that it can't be
// told, which is taken as if it did.
type Effect uint8

const (
	Maybe Effect = iota
	No
	Yes
)

// Kind says what a change does. The zero value is the one to be careful with.
type Kind uint8

const (
	MayDiffer Kind = iota // it could not be proved that nothing opens
	Opens                 // some pass now that did not
	Changes               // some pass now that did not, others no longer
	Closes                // some pass no longer, or maybe; none that did not
)

// String gives the kind as JSON output has it.
func (k Kind) String() string {
	switch k {
	case Opens:
		return "opens"
	case Changes:
		return "changes"
	case Closes:
		return "closes"
	default:
		return "may_differ"
	}
}

// Opens reports whether the change opens something, or may.
func (k Kind) Opens() bool { return k != Closes }

// Change is one change of what some requests need.
type Change struct {
	Kind              Kind
	Policy            string // its name; "" is the default policy
	Requests          []string
	Example           string   // METHOD https://HOST/PATH
	With              []string // what it takes besides for the change to show, in words
	EncodedSlash      bool     // it is about paths with an escaped slash only
	EscapedUnreserved bool     // it is about paths that escape what needs no escape only
	Preflight         bool     // it is about browsers' preflight requests only
	Old, New          *policy.Rule
	OpensFor          []string // in words
	ClosesFor         []string
	MayCloseFor       []string // where that can't be told

	passes           [2]bool // by preflight: public, in Old and New
	opening, closing *shown  // for which both policies decide so; nil where that can't be told
}

// Report is what differs between two policies.
type Report struct {
	OldVersion, NewVersion string
	Changes                []Change // those that open first
	Incomplete             []string // names of policies that overlap too much to be compared
}

// Opens reports whether anything opens, or may.
func (r *Report) Opens() bool {
	return len(r.Incomplete) > 0 || slices.ContainsFunc(r.Changes, func(c Change) bool { return c.Kind.Opens() })
}

// Count gives the number of changes of a kind.
func (r *Report) Count(k Kind) int {
	n := 0
	for _, c := range r.Changes {
		if c.Kind == k {
			n++
		}
	}
	return n
}

// Options are what Compare may be told. The zero value is good for two files.
type Options struct {
	// FileNames: requests may also name a file by its base name, as where both
	// policies are folders. Without it, only `name:` keys are names.
	FileNames bool

	work int // 0: maxWork
}

// Compare gives what changes from old to new.
func Compare(old, new *policy.Set, o Options) *Report {
	c := &comparison{
		report: &Report{OldVersion: old.Version(), NewVersion: new.Version()},
		needs:  map[needKey]*need{}, steps: map[needKey][]string{}, effects: map[effectKey]effects{}, said: map[pair]bool{}, draws: maxDraws,
	}
	work := cmp.Or(o.work, maxWork)
	for _, name := range names(old, new, o.FileNames) {
		x, complete := explore(old, new, name, work)
		if !complete {
			c.report.Incomplete = append(c.report.Incomplete, name)
		}
		c.policy(x)
	}
	slices.SortFunc(c.report.Changes, compareChanges)
	return c.report
}

// comparison remembers what many requests have in common.
type comparison struct {
	report  *Report
	needs   map[needKey]*need
	steps   map[needKey][]string
	effects map[effectKey]effects
	said    map[pair]bool // by a policy before
	draws   int           // that are left to search
}

// needKey is what a need depends on: the places of path variables are those of
// the pattern.
type needKey struct {
	rule    *policy.Rule
	pattern *policy.Pattern // nil if there is no condition
}

// need gives what a match asks for.
func (c *comparison) need(m policy.Match) *need {
	rule := m.Rule()
	switch {
	case rule == nil:
		return never()
	case rule.Audit, m.Decide(nil).Code == policy.Allowed: // audit mode denies nobody
		return always()
	case m.Access() != policy.AccessToken:
		return never()
	}
	key := newNeedKey(m)
	if c.needs[key] == nil {
		c.needs[key] = tokenNeed(key)
		if key.pattern != nil {
			c.steps[key] = steps(rule, key.pattern)
		}
	}
	return c.needs[key]
}

func newNeedKey(m policy.Match) needKey {
	key := needKey{rule: m.Rule()}
	if key.rule != nil && key.rule.When != "" && !m.ForPreflight() {
		key.pattern = m.Pattern()
	}
	return key
}

func tokenNeed(key needKey) *need {
	rule := key.rule
	all := []*need{needFact(fact{kind: validToken})}
	for _, scope := range rule.Scopes {
		all = append(all, needFact(fact{kind: hasScope, key: scope}))
	}
	if len(rule.AnyScopes) > 0 {
		var some []*need
		for _, scope := range rule.AnyScopes {
			some = append(some, needFact(fact{kind: hasScope, key: scope}))
		}
		all = append(all, needParts(anyOf, some...))
	}
	all = append(all, loginNeeds(rule)...)
	if key.pattern != nil {
		all = append(all, conditionNeed(rule, key.pattern))
	}
	if rule.Optional {
		return needParts(anyOf, needFact(fact{kind: noToken}), needParts(allOf, all...))
	}
	return needParts(allOf, all...)
}

// effects is what happens from one need to another, as far as it is proved: No, or
// Maybe.
type effects struct {
	opens, closes Effect
	in, out       []cube // who comes in, who stays out
	costs         [2]bool
}

// effectKey is what effects depend on.
type effectKey struct{ old, new, oldSteps, newSteps string }

func (c *comparison) between(m *meeting) effects {
	old, new := c.need(m.old), c.need(m.new)
	oldSteps, newSteps := c.steps[newNeedKey(m.old)], c.steps[newNeedKey(m.new)]
	key := effectKey{old.key, new.key, strings.Join(oldSteps, "\n"), strings.Join(newSteps, "\n")}
	if known, ok := c.effects[key]; ok {
		return known
	}
	in, out := new.implies(old), old.implies(new)
	e := effects{in: minimal(in.without), out: minimal(out.without)}
	// What a condition denies for its cost, the other must deny as well: it must begin
	// with the same steps.
	e.costs = [2]bool{!new.never() && !begins(newSteps, oldSteps), !old.never() && !begins(oldSteps, newSteps)}
	if in.proved && !e.costs[0] {
		e.opens = No
	}
	if out.proved && !e.costs[1] {
		e.closes = No
	}
	c.effects[key] = e
	return e
}

func begins(all, with []string) bool {
	return len(all) >= len(with) && slices.Equal(all[:len(with)], with)
}

func kind(opens, closes Effect) Kind {
	switch {
	case opens == No:
		return Closes
	case opens == Maybe:
		return MayDiffer
	case closes == Yes:
		return Changes
	default:
		return Opens
	}
}

// policy adds the changes of one policy: one for each pair of rules.
func (c *comparison) policy(x *explorer) {
	type group struct {
		old, new      *policy.Rule
		form          form
		preflight     bool
		key           [2]string
		opens, closes Effect
	}
	type entry struct {
		change *Change
		shown  shown
	}
	groups := map[group]*entry{}
	for _, p := range slices.SortedFunc(maps.Keys(x.found), comparePairs) {
		if c.said[p] {
			continue // by the default policy, of which this is a part
		}
		c.said[p] = true
		m := x.found[p]
		e := c.between(m)
		if e.opens == No && e.closes == No {
			continue
		}
		best := shown{example: m.example}
		closing := c.search(x, p, m, e.closes, e.out, false)
		if closing != nil {
			e.closes, best = Yes, *closing
		}
		opening := c.search(x, p, m, e.opens, e.in, true)
		if opening != nil {
			e.opens, best = Yes, *opening
		}
		g := group{m.old.Rule(), m.new.Rule(), m.example.form, p.preflight, [2]string{c.need(m.old).key, c.need(m.new).key}, e.opens, e.closes}
		known := groups[g]
		if known == nil {
			known = &entry{newChange(x.name, g.old, g.new, e), best}
			known.change.Preflight, known.change.passes = g.preflight, [2]bool{p.passesOld, p.passesNew}
			known.change.EncodedSlash, known.change.EscapedUnreserved = g.form == withSlash, g.form == withEscape
			known.change.opening, known.change.closing = opening, closing
			groups[g] = known
		} else if best.less(known.shown) {
			known.shown = best
		}
		known.change.Requests = append(known.change.Requests, p.String())
	}
	for _, known := range groups {
		slices.Sort(known.change.Requests)
		known.change.Requests = slices.Compact(known.change.Requests)
		known.change.Example, known.change.With = known.shown.String(), known.shown.with
		c.report.Changes = append(c.report.Changes, *known.change)
	}
}

func newChange(name string, old, new *policy.Rule, e effects) *Change {
	change := &Change{Kind: kind(e.opens, e.closes), Policy: name, Old: old, New: new}
	if e.opens != No {
		change.OpensFor = people(e.in, e.costs[0], "old")
	}
	switch e.closes {
	case Yes:
		change.ClosesFor = people(e.out, e.costs[1], "new")
	case Maybe:
		change.MayCloseFor = people(e.out, e.costs[1], "new")
	}
	return change
}

func compareChanges(a, b Change) int {
	opens := func(c Change) int {
		if c.Kind.Opens() {
			return 0
		}
		return 1
	}
	position := func(r *policy.Rule) strictyaml.Pos {
		if r == nil {
			return strictyaml.Pos{}
		}
		return r.Pos
	}
	return cmp.Or(
		cmp.Compare(opens(a), opens(b)), strings.Compare(a.Policy, b.Policy),
		comparePositions(position(a.New), position(b.New)), comparePositions(position(a.Old), position(b.Old)),
		strings.Compare(strings.Join(a.Requests, " "), strings.Join(b.Requests, " ")), strings.Compare(a.Example, b.Example))
}

// kind tells pairs of the same patterns apart.
func (p pair) kind() string { return fmt.Sprint(p.preflight, p.passesOld, p.passesNew) }

func comparePairs(a, b pair) int {
	position := func(p *policy.Pattern) strictyaml.Pos {
		if p == nil {
			return strictyaml.Pos{}
		}
		return p.Pos
	}
	return cmp.Or(comparePositions(position(a.new), position(b.new)), comparePositions(position(a.old), position(b.old)), strings.Compare(a.kind(), b.kind()))
}

func comparePositions(a, b strictyaml.Pos) int {
	return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

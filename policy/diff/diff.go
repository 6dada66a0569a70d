// Package diff compares two policies by what they let in: which requests open up,
// which close, and for whom.
//
// It is sound: if it says that nothing opens, no request with any token or none
// passes by the new policy that does not pass by the old one. Requests are
// compared over all that the patterns of both policies can tell apart (see
// explorer), as policy.Set.Match answers them; what a rule asks for is compared as a
// formula (see need), exactly for scopes. Conditions are compared by their form,
// part by part, after a normalisation; where that does not prove that the new
// one lets in no more, it may open, and counts as opening. What is not compared
// is the cost limit that stops a condition's evaluation, which denies.
package diff

import (
	"cmp"
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
	Closes                // some pass no longer
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
	Example           string // METHOD https://HOST/PATH
	EncodedSlash      bool   // it is about paths with an escaped slash only
	EscapedUnreserved bool   // it is about paths that escape what needs no escape only
	Old, New          *policy.Rule
	OpensFor          []string // in words
	ClosesFor         []string
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
		needs:  map[needKey]*need{}, effects: map[[2]string]effects{}, said: map[pair]bool{},
	}
	work := cmp.Or(o.work, maxWork)
	for _, name := range names(old, new, o.FileNames) {
		found, complete := explore(old, new, name, work)
		if !complete {
			c.report.Incomplete = append(c.report.Incomplete, name)
		}
		c.policy(name, found)
	}
	slices.SortFunc(c.report.Changes, compareChanges)
	return c.report
}

// comparison remembers what many requests have in common.
type comparison struct {
	report  *Report
	needs   map[needKey]*need
	effects map[[2]string]effects
	said    map[pair]bool // by a policy before
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
	key := needKey{rule: rule}
	if rule.When != "" {
		key.pattern = m.Pattern()
	}
	if c.needs[key] == nil {
		c.needs[key] = tokenNeed(key)
	}
	return c.needs[key]
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
	if key.pattern != nil {
		all = append(all, conditionNeed(rule, key.pattern))
	}
	return needParts(allOf, all...)
}

// effects is what happens from one need to another.
type effects struct {
	opens, closes Effect
	in, out       []cube // who comes in, who stays out
}

func (c *comparison) between(old, new *need) effects {
	key := [2]string{old.key, new.key}
	if known, ok := c.effects[key]; ok {
		return known
	}
	in, out := new.implies(old), old.implies(new)
	e := effects{opens: effect(in, out), closes: effect(out, in), in: minimal(in.without), out: minimal(out.without)}
	c.effects[key] = e
	return e
}

// effect reads an implication: where it is not proved, but the one the other way
// round is, something has been taken away or added; unless nobody may be able to
// meet what that is.
func effect(v, reverse verdict) Effect {
	switch {
	case v.proved:
		return No
	case v.refuted, reverse.proved && (len(v.without) == 0 || slices.ContainsFunc(v.without, cube.possible)):
		return Yes
	default:
		return Maybe
	}
}

func (e effects) kind() (Kind, bool) {
	switch {
	case e.opens == No && e.closes == No:
		return MayDiffer, false
	case e.opens == No:
		return Closes, true
	case e.opens == Maybe:
		return MayDiffer, true
	case e.closes == Yes:
		return Changes, true
	default:
		return Opens, true
	}
}

// policy adds the changes of one policy: one for each pair of rules.
func (c *comparison) policy(name string, found map[pair]*meeting) {
	type group struct {
		old, new *policy.Rule
		form     form
		key      [2]string
	}
	type entry struct {
		change  *Change
		example example
	}
	groups := map[group]*entry{}
	for _, p := range slices.SortedFunc(maps.Keys(found), comparePairs) {
		if c.said[p] {
			continue // by the default policy, of which this is a part
		}
		c.said[p] = true
		m := found[p]
		old, new := c.need(m.old), c.need(m.new)
		e := c.between(old, new)
		kind, changes := e.kind()
		if !changes {
			continue
		}
		g := group{m.old.Rule(), m.new.Rule(), m.example.form, [2]string{old.key, new.key}}
		x := groups[g]
		if x == nil {
			x = &entry{&Change{Kind: kind, Policy: name, EncodedSlash: m.example.form == withSlash, EscapedUnreserved: m.example.form == withEscape, Old: g.old, New: g.new, OpensFor: people(e.in), ClosesFor: people(e.out)}, m.example}
			groups[g] = x
		} else if m.example.less(x.example) {
			x.example = m.example
		}
		x.change.Requests = append(x.change.Requests, p.String())
	}
	for _, x := range groups {
		slices.Sort(x.change.Requests)
		x.change.Requests = slices.Compact(x.change.Requests)
		x.change.Example = x.example.String()
		c.report.Changes = append(c.report.Changes, *x.change)
	}
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

func comparePairs(a, b pair) int {
	position := func(p *policy.Pattern) strictyaml.Pos {
		if p == nil {
			return strictyaml.Pos{}
		}
		return p.Pos
	}
	return cmp.Or(comparePositions(position(a.new), position(b.new)), comparePositions(position(a.old), position(b.old)))
}

func comparePositions(a, b strictyaml.Pos) int {
	return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

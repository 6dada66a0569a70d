package diff

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// need is what it takes to be let in: a formula of `and` and `or` over facts,
// without negation. A condition can be true, false, or fail, and only true lets
// in; so that a part of it is true and that it is false are two facts, and the
// absence of both is its failure. In this form a formula is monotone: a fact
// more never shuts out.
type need struct {
	op    op
	fact  fact
	parts []*need
	key   string // equal for formulas that are equal but for order and repetition
}

type op uint8

const (
	isFact op = iota
	allOf     // of nothing: always
	anyOf     // of nothing: never
)

// fact is what a token or a request may bring.
type fact struct {
	kind  factKind
	key   string        // of a condition: its normal form
	words string        // of a condition: as it is written
	age   time.Duration // of a login: the most that it may have
	not   bool          // that it is false
}

type factKind uint8

const (
	validToken factKind = iota
	noToken             // no credential at all; of these three a request brings one
	badToken            // a credential that is not valid
	hasScope
	hasACR   // of the login: the token has one of them at most
	signedIn // a login that is not older than age; it is not older than a greater age, either
	holds
)

func (f fact) id() string {
	sign := "+"
	if f.not {
		sign = "-"
	}
	return sign + strconv.Itoa(int(f.kind)) + f.key
}

// opposite gives the fact that excludes f.
func (f fact) opposite() fact {
	f.not = !f.not
	return f
}

func needFact(f fact) *need { return &need{op: isFact, fact: f, key: f.id()} }

func always() *need { return needParts(allOf) }
func never() *need  { return needParts(anyOf) }

func (n *need) always() bool { return n.op == allOf && len(n.parts) == 0 }
func (n *need) never() bool  { return n.op == anyOf && len(n.parts) == 0 }

// needParts joins parts in normal form: flat, sorted, without repetition, and
// without parts that decide nothing or all.
func needParts(o op, parts ...*need) *need {
	var flat []*need
	for _, p := range parts {
		if p.op == o {
			flat = append(flat, p.parts...)
			continue
		}
		if o == allOf && p.never() || o == anyOf && p.always() {
			return p
		}
		flat = append(flat, p)
	}
	slices.SortFunc(flat, func(a, b *need) int { return strings.Compare(a.key, b.key) })
	flat = slices.CompactFunc(flat, func(a, b *need) bool { return a.key == b.key })
	if len(flat) == 1 {
		return flat[0]
	}
	var key strings.Builder
	key.WriteByte("?&|"[o])
	key.WriteByte('(')
	for _, p := range flat {
		key.WriteString(p.key)
		key.WriteByte(',')
	}
	key.WriteByte(')')
	return &need{op: o, parts: flat, key: key.String()}
}

// met reports whether the facts that brings gives are enough.
func (n *need) met(brings func(fact) bool) bool {
	switch n.op {
	case isFact:
		return brings(n.fact)
	case allOf:
		return !slices.ContainsFunc(n.parts, func(p *need) bool { return !p.met(brings) })
	default:
		return slices.ContainsFunc(n.parts, func(p *need) bool { return p.met(brings) })
	}
}

// cube is a set of facts, sorted by id, that is enough for a formula.
type cube []fact

func (c cube) has(f fact) bool {
	if f.kind == signedIn {
		return slices.ContainsFunc(c, func(own fact) bool { return own.kind == signedIn && own.age <= f.age })
	}
	_, found := slices.BinarySearchFunc(c, f.id(), compareID)
	return found
}

func compareID(f fact, id string) int { return strings.Compare(f.id(), id) }

// with gives c and all facts of d; not if two of them exclude each other.
func (c cube) with(d cube) (cube, bool) {
	sum := slices.Clone(c)
	for _, f := range d {
		if sum.has(f.opposite()) {
			return nil, false
		}
		if i, found := slices.BinarySearchFunc(sum, f.id(), compareID); !found {
			sum = slices.Insert(sum, i, f)
		}
	}
	return sum, true
}

// maxCubes bounds the ways to meet a formula that are looked at.
const maxCubes = 2048

// cubes gives sets of facts such that whatever meets n brings one of them; not
// if there are too many.
func (n *need) cubes() ([]cube, bool) {
	switch n.op {
	case isFact:
		return []cube{{n.fact}}, true
	case anyOf:
		var all []cube
		for _, p := range n.parts {
			some, ok := p.cubes()
			if all = append(all, some...); !ok || len(all) > maxCubes {
				return nil, false
			}
		}
		return all, true
	}
	all := []cube{{}}
	for _, p := range n.parts {
		some, ok := p.cubes()
		if !ok || len(all)*len(some) > maxCubes {
			return nil, false
		}
		var product []cube
		for _, a := range all {
			for _, b := range some {
				if sum, ok := a.with(b); ok {
					product = append(product, sum)
				}
			}
		}
		all = product
	}
	return all, true
}

// verdict is what is known about an implication. The zero value is that nothing
// is proved.
type verdict struct {
	proved  bool   // whatever meets the one meets the other
	without []cube // these meet the one, and maybe not the other
}

// implies says whether whatever meets n meets other. A cube of n is tried with its
// own facts, and with each choice of the scopes that other asks about: a token has
// a scope or has it not, so that this is exact for formulas of scopes, negated ones
// too. It does not know that two conditions can exclude each other, or one imply
// the other.
func (n *need) implies(other *need) verdict {
	if n.key == other.key {
		return verdict{proved: true}
	}
	cubes, ok := n.cubes()
	if !ok {
		return verdict{proved: n.includesParts(other)}
	}
	var v verdict
	var scopes []string
	if other.negatesScopes() { // else a scope more never shuts out, and c alone tells
		scopes = other.scopes()
	}
	if other.asksNobody() {
		cubes = byToken(cubes)
	}
	for _, c := range cubes {
		if other.met(c.has) {
			continue
		}
		choices, ok := []cube{c}, true
		if !c.has(fact{kind: noToken}) && !c.has(fact{kind: badToken}) {
			choices, ok = c.choices(scopes)
		}
		if !ok {
			v.without = append(v.without, c)
			continue
		}
		without := slices.DeleteFunc(choices, func(c cube) bool { return other.met(c.has) })
		if len(without) > 0 && len(without) == len(choices) {
			v.without = append(v.without, c) // whatever scopes it has besides
		} else {
			v.without = append(v.without, without...)
		}
	}
	v.proved = len(v.without) == 0
	return v
}

// asksNobody reports whether a formula lets those in who bring no token.
func (n *need) asksNobody() bool {
	if n.op == isFact {
		return n.fact.kind == noToken
	}
	return slices.ContainsFunc(n.parts, (*need).asksNobody)
}

// byToken splits the cube of everybody by the token that they bring.
func byToken(cubes []cube) []cube {
	var split []cube
	for _, c := range cubes {
		if len(c) > 0 {
			split = append(split, c)
			continue
		}
		for _, kind := range []factKind{noToken, badToken, validToken} {
			split = append(split, cube{{kind: kind}})
		}
	}
	return split
}

// negatesScopes reports whether a formula asks that a token has a scope not.
func (n *need) negatesScopes() bool {
	if n.op == isFact {
		return n.fact.kind == hasScope && n.fact.not
	}
	return slices.ContainsFunc(n.parts, (*need).negatesScopes)
}

// scopes gives the scopes that a formula asks about, sorted.
func (n *need) scopes() []string {
	if n.op == isFact {
		if n.fact.kind == hasScope {
			return []string{n.fact.key}
		}
		return nil
	}
	var all []string
	for _, p := range n.parts {
		all = append(all, p.scopes()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// maxChoices bounds the scopes that are chosen for one cube, in powers of two.
const maxChoices = 10

// choices gives c with each choice of the scopes that it leaves open; not if they
// are too many.
func (c cube) choices(scopes []string) ([]cube, bool) {
	all := []cube{c}
	open := 0
	for _, scope := range scopes {
		has := fact{kind: hasScope, key: scope, words: scope}
		if c.has(has) || c.has(has.opposite()) {
			continue
		}
		if open++; open > maxChoices {
			return nil, false
		}
		var split []cube
		for _, choice := range all {
			for _, f := range []fact{has, has.opposite()} {
				if with, ok := choice.with(cube{f}); ok {
					split = append(split, with)
				}
			}
		}
		all = split
	}
	return all, true
}

// includesParts reports whether n asks for all that other asks for, part by part.
func (n *need) includesParts(other *need) bool {
	has := func(part *need) bool {
		return part.key == n.key || n.op == allOf && slices.ContainsFunc(n.parts, func(p *need) bool { return p.key == part.key })
	}
	if other.op != allOf {
		return has(other)
	}
	return !slices.ContainsFunc(other.parts, func(p *need) bool { return !has(p) })
}

// minimal leaves out the cubes that have another one in them.
func minimal(cubes []cube) []cube {
	slices.SortStableFunc(cubes, func(a, b cube) int { return len(a) - len(b) })
	var kept []cube
	for _, c := range cubes {
		if !slices.ContainsFunc(kept, func(k cube) bool { return !slices.ContainsFunc(k, func(f fact) bool { return !c.has(f) }) }) {
			kept = append(kept, c)
		}
	}
	return kept
}

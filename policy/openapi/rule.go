package openapi

import (
	"slices"
	"strconv"
	"strings"
)

// rule is a rule of the policy to be made: of one operation, or of several that
// patterns can't tell apart, which are denied.
type rule struct {
	operations []*Operation
	patterns   []pattern
}

// pattern is a pattern of the policy to be made.
type pattern struct {
	method string // empty: all
	target
}

func (p pattern) String() string {
	if p.method == "" {
		return p.target.String()
	}
	return p.method + " " + p.target.String()
}

func (r *rule) closed() bool {
	return slices.ContainsFunc(r.operations, func(op *Operation) bool { return op.closed })
}

// separate makes a rule for each operation. Where the patterns of two would
// conflict, so that it would be open which of them a request is for, both are
// closed and share a rule.
func separate(operations []*Operation) []*rule {
	var rules []*rule
	heads := map[*Operation]*Operation{}
	for _, op := range operations {
		if get := getOf(op, operations); get != nil {
			heads[get] = op
			continue
		}
		r := &rule{operations: []*Operation{op}}
		for _, t := range op.targets {
			r.patterns = append(r.patterns, pattern{op.Method, t})
		}
		rules = append(rules, r)
	}
	for _, r := range rules {
		if head := heads[r.operations[0]]; head != nil {
			r.operations = append(r.operations, head)
		}
	}
	for {
		a, b, found := firstConflict(rules)
		if !found {
			return rules
		}
		merge(a, b)
		if a.rule != b.rule {
			rules = slices.DeleteFunc(rules, func(r *rule) bool { return r == b.rule })
		}
	}
}

// getOf finds the GET operation of the same path whose rule will do for a HEAD
// operation too: GET patterns match HEAD.
func getOf(head *Operation, operations []*Operation) *Operation {
	if head.Method != "HEAD" {
		return nil
	}
	at := slices.IndexFunc(operations, func(op *Operation) bool {
		return op.Method == "GET" && op.Path == head.Path && op.closed == head.closed &&
			op.Requirement.Public == head.Requirement.Public && op.Requirement.Silent == head.Requirement.Silent &&
			slices.EqualFunc(op.Requirement.Alternatives, head.Requirement.Alternatives, slices.Equal) &&
			slices.EqualFunc(op.targets, head.targets, func(a, b target) bool { return a.String() == b.String() })
	})
	if at < 0 {
		return nil
	}
	return operations[at]
}

// place is a pattern of a rule.
type place struct {
	rule  *rule
	index int
}

func (p place) pattern() pattern { return p.rule.patterns[p.index] }

// firstConflict finds two patterns that http.ServeMux would refuse. Only those
// of one host and one length can conflict, as no pattern ends in a {name...}.
func firstConflict(rules []*rule) (a, b place, found bool) {
	alike := map[string][]place{}
	for _, r := range rules {
		for i, p := range r.patterns {
			at := place{r, i}
			shape := p.host + "/" + strconv.Itoa(len(p.segments)) + strconv.FormatBool(p.slash)
			for _, other := range alike[shape] {
				if conflict(other.pattern(), p) {
					return other, at, true
				}
			}
			alike[shape] = append(alike[shape], at)
		}
	}
	return place{}, place{}, false
}

// merge moves b's rule into a's, with one pattern that covers both.
func merge(a, b place) {
	joined := join(a.pattern(), b.pattern())
	other := b.pattern()
	for _, op := range slices.Concat(a.rule.operations, b.rule.operations) {
		if !op.closed {
			op.note(op.Pos, "a request may be for this operation or for %s: no pattern tells them apart", rivalOf(op, a, b))
		}
		op.closed = true
	}
	if a.rule != b.rule {
		a.rule.operations = append(a.rule.operations, b.rule.operations...)
		a.rule.patterns = append(a.rule.patterns, b.rule.patterns...)
	}
	name := other.String()
	first := true
	a.rule.patterns[a.index] = joined
	a.rule.patterns = slices.DeleteFunc(a.rule.patterns, func(p pattern) bool {
		if first && p.String() == name && p.String() != joined.String() {
			first = false
			return true
		}
		return false
	})
	a.rule.patterns = unique(a.rule.patterns)
}

func rivalOf(op *Operation, a, b place) string {
	if slices.Contains(a.rule.operations, op) {
		return printable(b.rule.operations[0].String())
	}
	return printable(a.rule.operations[0].String())
}

// unique drops patterns that differ in the names of wildcards at most.
func unique(patterns []pattern) []pattern {
	var kept []pattern
	for _, p := range patterns {
		if !slices.ContainsFunc(kept, func(k pattern) bool {
			return k.method == p.method && k.host == p.host && k.slash == p.slash && compareSegments(k.segments, p.segments) == equal
		}) {
			kept = append(kept, p)
		}
	}
	return kept
}

// relation is how two sets of requests lie.
type relation uint8

const (
	disjoint relation = iota
	equal
	within   // the first is a part of the second
	contains // the second is a part of the first
	overlap  // neither
)

func conflict(a, b pattern) bool {
	methods, paths := compareMethods(a.method, b.method), compareSegments(a.segments, b.segments)
	switch {
	case methods == disjoint || paths == disjoint:
		return false
	case paths == overlap, paths == equal && methods == equal:
		return true
	default:
		return methods == within && paths == contains || methods == contains && paths == within
	}
}

func compareMethods(a, b string) relation {
	switch {
	case a == b:
		return equal
	case a == "", a == "GET" && b == "HEAD":
		return contains
	case b == "", b == "GET" && a == "HEAD":
		return within
	default:
		return disjoint
	}
}

// compareSegments compares paths of one length.
func compareSegments(a, b []string) relation {
	if len(a) != len(b) {
		return disjoint
	}
	out := equal
	for i := range a {
		next := equal
		switch wa, wb := isWildcard(a[i]), isWildcard(b[i]); {
		case wa && wb:
		case wa:
			next = contains
		case wb:
			next = within
		case a[i] != b[i]:
			return disjoint
		}
		switch {
		case next == equal:
		case out == equal:
			out = next
		case out != next:
			out = overlap
		}
	}
	return out
}

// join gives a pattern that covers two of one host and length.
func join(a, b pattern) pattern {
	out := a
	if compareMethods(a.method, b.method) == within {
		out.method = b.method
	}
	out.segments = slices.Clone(a.segments)
	names := map[string]int{}
	for i, segment := range out.segments {
		switch {
		case isWildcard(segment), isWildcard(b.segments[i]):
			out.segments[i] = "{" + wildcardName(strings.Trim(segment, "{}"), names) + "}"
		}
	}
	return out
}

// terms are what a rule asks of a token.
type terms struct {
	scopes, anyScopes []string
	when              string
}

// maxCondition is how long a condition may be.
const maxCondition = 16 << 10

// express puts alternatives into a rule's words, exactly: what all of them have
// in common into scopes, one of single scopes into any_scopes, and all else
// into a condition.
func express(alternatives [][]string) terms {
	var t terms
	for _, scope := range alternatives[0] {
		if !slices.ContainsFunc(alternatives, func(a []string) bool { return !slices.Contains(a, scope) }) {
			t.scopes = append(t.scopes, scope)
		}
	}
	single, conditions := true, []string{}
	for _, alternative := range alternatives {
		var rest, tests []string
		for _, scope := range alternative {
			if !slices.Contains(t.scopes, scope) {
				rest = append(rest, scope)
				tests = append(tests, strconv.Quote(scope)+" in identity.scopes")
			}
		}
		if len(rest) == 0 {
			return t // alternatives are minimal: it is the only one
		}
		single = single && len(rest) == 1
		t.anyScopes = append(t.anyScopes, rest...)
		conditions = append(conditions, "("+strings.Join(tests, " && ")+")")
	}
	if !single {
		t.anyScopes, t.when = nil, strings.Join(conditions, " || ")
	}
	return t
}

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

	// joined are patterns of the operations that others in patterns cover. What
	// conflicts with them is not told apart from the operations either.
	joined []pattern
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

// shape is what patterns have in common that can be for the same path, as none
// ends in a {name...}.
func (p pattern) shape() string {
	return "/" + strconv.Itoa(len(p.segments)) + strconv.FormatBool(p.slash)
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
	protectHosts(rules)
	for {
		a, b, found := firstConflict(rules)
		if !found {
			return rules
		}
		if a.rule == b.rule {
			a.rule.replace(a.pattern(), b.pattern())
			continue
		}
		a.rule.take(b.rule)
		rules = slices.DeleteFunc(rules, func(r *rule) bool { return r == b.rule })
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
	index int // of its patterns, and then of those that are joined
}

func (p place) joined() bool { return p.index >= len(p.rule.patterns) }

func (p place) pattern() pattern {
	if p.joined() {
		return p.rule.joined[p.index-len(p.rule.patterns)]
	}
	return p.rule.patterns[p.index]
}

// firstConflict finds two patterns that http.ServeMux would refuse. Only those
// of one host and shape can conflict.
func firstConflict(rules []*rule) (a, b place, found bool) {
	alike := map[string][]place{}
	for _, r := range rules {
		for i := range len(r.patterns) + len(r.joined) {
			at := place{r, i}
			p := at.pattern()
			shape := p.host + p.shape()
			for _, other := range alike[shape] {
				if other.rule == r && (other.joined() || at.joined()) {
					continue
				}
				if conflict(other.pattern(), p) {
					return other, at, true
				}
			}
			alike[shape] = append(alike[shape], at)
		}
	}
	return place{}, place{}, false
}

// take closes the operations of two rules, and moves them into this one.
func (r *rule) take(other *rule) {
	r.close(other)
	other.close(r)
	r.operations = append(r.operations, other.operations...)
	r.patterns = append(r.patterns, other.patterns...)
	r.joined = append(r.joined, other.joined...)
}

func (r *rule) close(rival *rule) {
	for _, op := range r.operations {
		if !op.closed {
			op.note(op.Pos, "a request may be for this operation or for %s: no pattern tells them apart", printable(rival.operations[0].String()))
			op.closed = true
		}
	}
}

// replace puts one pattern in the place of two.
func (r *rule) replace(a, b pattern) {
	r.joined = append(r.joined, a, b)
	r.patterns = slices.DeleteFunc(r.patterns, func(p pattern) bool { return p.String() == a.String() || p.String() == b.String() })
	r.patterns = unique(append(r.patterns, join(a, b)))
	r.close(r)
}

// unique drops patterns that differ in the names of wildcards at most.
func unique(patterns []pattern) []pattern {
	var kept []pattern
	for _, p := range patterns {
		if !slices.ContainsFunc(kept, p.same) {
			kept = append(kept, p)
		}
	}
	return kept
}

func (p pattern) same(o pattern) bool {
	return p.method == o.method && p.host == o.host && p.slash == o.slash && compareSegments(p.segments, o.segments) == equal
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

package openapi

import (
	"fmt"
	"slices"
	"strconv"

	"scopeward/policy/pattern"
)

// rule is a rule of the policy to be made: of one operation, or of several that a request
// could be for, which must all be met then.
type rule struct {
	operations []*Operation
	patterns   []*pattern.Pattern

	// between: each of the operations has a rule of its own, and this one is for the
	// requests that more than one of those would be for.
	between bool
}

// maxEntries bounds the patterns of a policy to be made: what overlaps in all ways has
// more of them than anybody can read.
const maxEntries = 20_000

// entry is a pattern and the operations that its requests may be for.
type entry struct {
	pattern    *pattern.Pattern
	operations []*Operation
}

// entries are the patterns of a policy to be made.
type entries struct {
	all  []*entry
	tree pattern.Tree[*entry]
}

// add adds operations to the entry of a pattern, and reports whether that is new.
func (e *entries) add(p *pattern.Pattern, operations ...*Operation) bool {
	added := &entry{pattern: p}
	same := e.tree.Add(p, added)
	if same != nil {
		added = same.Value
	} else {
		e.all = append(e.all, added)
	}
	for _, op := range operations {
		if !slices.Contains(added.operations, op) {
			added.operations = append(added.operations, op)
		}
	}
	return same == nil
}

// separate makes the rules for operations. It is false if there would be too many.
func separate(operations []*Operation) ([]*rule, bool) {
	e := &entries{tree: pattern.Tree[*entry]{}}
	heads := map[*Operation]*Operation{}
	for _, op := range operations {
		if get := getOf(op, operations); get != nil {
			heads[get] = op
			continue
		}
		for _, t := range op.targets {
			p := t.Pattern.Clone()
			p.Method = op.Method
			e.add(&p, op)
		}
	}
	e.protectHosts()
	if !e.settle() {
		return nil, false
	}
	rules := e.rules()
	for _, r := range rules {
		for _, op := range r.operations {
			if head := heads[op]; head != nil {
				r.operations = append(r.operations, head)
			}
		}
	}
	return rules, true
}

// getOf finds the GET operation of the same path whose rule will do for a HEAD
// operation too: GET patterns match HEAD.
func getOf(head *Operation, operations []*Operation) *Operation {
	if head.Method != "HEAD" {
		return nil
	}
	at := slices.IndexFunc(operations, func(op *Operation) bool {
		return op.Method == "GET" && op.Path == head.Path && sameDemand(op, head) &&
			slices.EqualFunc(op.targets, head.targets, func(a, b target) bool { return a.String() == b.String() })
	})
	if at < 0 {
		return nil
	}
	return operations[at]
}

// sameDemand reports whether two operations ask for the same.
func sameDemand(a, b *Operation) bool {
	return a.closed == b.closed && a.Requirement.Public == b.Requirement.Public && a.Requirement.Silent == b.Requirement.Silent &&
		slices.EqualFunc(a.Requirement.Alternatives, b.Requirement.Alternatives, slices.Equal)
}

// protectHosts adds, to patterns for all hosts, the same for the hosts of others. A
// pattern with a host goes before any without one, also before a more concrete path,
// where a document has the concrete path first (OpenAPI 3.1 §4.8.8.1) and no order of
// servers: without the copy, the rule of one host would open what another rule protects
// at all hosts.
func (e *entries) protectHosts() {
	byShape := map[string][]*entry{}
	shape := func(p *pattern.Pattern) string { return strconv.Itoa(len(p.Segments)) + "/" + strconv.Itoa(int(p.End)) }
	for _, entry := range e.all {
		byShape[shape(entry.pattern)] = append(byShape[shape(entry.pattern)], entry)
	}
	for i := 0; i < len(e.all); i++ {
		rival := e.all[i].pattern
		if rival.Host == "" {
			continue
		}
		for _, wider := range byShape[shape(rival)] {
			if !rival.Hides(wider.pattern) {
				continue
			}
			p := wider.pattern.Clone()
			p.Host = rival.Host
			e.add(&p, wider.operations...) // it hides others in its turn
		}
	}
}

// settle adds a pattern for what two have in common of which none is more specific: a
// request there may be for the operations of both. One that a document has there itself
// is more concrete than both.
func (e *entries) settle() bool {
	for i := 0; i < len(e.all) && len(e.all) <= maxEntries; i++ {
		later := e.all[i]
		var rivals []*entry
		e.tree.OfHost(later.pattern.Host).Overlapping(later.pattern, func() bool { return true }, func(other *pattern.Leaf[*entry]) {
			if later.pattern.Conflicts(other.Pattern) && other.Value != later {
				rivals = append(rivals, other.Value)
			}
		})
		slices.SortFunc(rivals, func(a, b *entry) int { return slices.Index(e.all, a) - slices.Index(e.all, b) })
		for _, rival := range rivals {
			both, _ := rival.pattern.Meet(later.pattern)
			if e.tree.Get(&both) == nil {
				rename(&both)
				e.add(&both, slices.Concat(rival.operations, later.operations)...)
			}
		}
	}
	return len(e.all) <= maxEntries
}

// rename makes the names of the wildcards differ, as they come from two patterns.
func rename(p *pattern.Pattern) {
	taken := map[string]int{}
	for i, s := range p.Segments {
		if s.Literal == "" {
			p.Segments[i] = wildcard(s.Name(), taken)
		}
	}
}

// rules joins the patterns of the same operations. Where a request may be for several that
// ask for the same, the rule of the first will do.
func (e *entries) rules() []*rule {
	var rules []*rule
	byOperations := map[string]*rule{}
	numbers, first := map[*Operation]int{}, map[*Operation]*rule{}
	for _, entry := range e.all {
		key := ""
		plain := true
		for _, op := range entry.operations {
			if numbers[op] == 0 {
				numbers[op] = len(numbers) + 1
			}
			words, possible := conditions(op.guards(), entry.pattern.Segments)
			key += fmt.Sprintln(numbers[op], words, possible)
			plain = plain && len(op.guards()) == 0 && sameDemand(op, entry.operations[0])
		}
		if own := first[entry.operations[0]]; plain && own != nil && !own.between {
			for _, op := range entry.operations {
				if first[op] == nil {
					first[op] = own
					own.operations = append(own.operations, op)
				}
			}
			own.patterns = append(own.patterns, entry.pattern)
			continue
		}
		r := byOperations[key]
		if r == nil {
			r = &rule{operations: slices.Clone(entry.operations), between: true}
			rules = append(rules, r)
			byOperations[key] = r
		}
		for _, op := range entry.operations {
			if first[op] == nil {
				first[op], r.between = r, false
			}
		}
		r.patterns = append(r.patterns, entry.pattern)
	}
	return rules
}

// guards gives what the operation's requests must have besides the pattern.
func (o *Operation) guards() []guard {
	if len(o.targets) == 0 {
		return nil
	}
	return o.targets[0].guards // of the path, whatever the server
}

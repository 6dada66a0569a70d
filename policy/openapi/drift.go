package openapi

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
)

// Finding is one difference between a document and a policy.
type Finding struct {
	Kind      string         // route_without_rule, rule_without_route, weaker_rule
	Pos       strictyaml.Pos // of the rule, or of the route without one
	Message   string
	Request   string         // an example, as METHOD URL; empty for a rule without a route
	Operation string         // METHOD /path of the document; empty for a rule without a route
	Route     strictyaml.Pos // of the operation
}

const (
	RouteWithoutRule = "route_without_rule"
	RuleWithoutRoute = "rule_without_route"
	WeakerRule       = "weaker_rule"
)

// Drift compares the policy called name in set ("" is the default policy) with
// the document:
//
//   - each operation must have a rule;
//   - each rule, unless it denies, must be for an operation;
//   - no rule may let pass what the document's security does not. Where that
//     can't be shown, as for API keys, it counts as weaker.
//
// Requests are compared that stand for all that the document and the policy
// can tell apart: each operation alone, and with each pattern that it meets.
func (d *Document) Drift(set *policy.Set, name string) ([]Finding, error) {
	imported, err := d.Policy()
	if err != nil {
		return nil, err
	}
	own, err := policy.Parse(policy.File{Name: d.File, Data: imported.Policy})
	if err != nil {
		return nil, err
	}
	c := &comparison{set: set, name: name, document: own, owners: map[*policy.Rule]*rule{}, used: map[*policy.Pattern]bool{}, seen: map[string]bool{}}
	written := own.Rules()
	for i, r := range d.rules {
		if len(imported.Rules[i].Patterns) > 0 {
			c.owners[written[0]], written = r, written[1:]
		}
	}
	for _, r := range set.Rules() {
		if !c.inPolicy(r) {
			continue
		}
		for _, p := range r.Patterns {
			c.patterns = append(c.patterns, rulePattern{r, p})
		}
	}
	for _, r := range d.rules {
		c.route(r)
	}
	c.unused()
	return c.findings, nil
}

type comparison struct {
	set      *policy.Set
	name     string
	document *policy.Set // the document as a policy: which operation a request is for
	owners   map[*policy.Rule]*rule
	patterns []rulePattern
	used     map[*policy.Pattern]bool
	seen     map[string]bool // findings that were made
	findings []Finding
}

type rulePattern struct {
	rule    *policy.Rule
	pattern *policy.Pattern
}

// inPolicy reports whether the rule belongs to the policy that is asked: one
// without a `name:` is known by its file's name too.
func (c *comparison) inPolicy(r *policy.Rule) bool {
	file := filepath.Base(r.Pos.File)
	return r.Policy == c.name || r.Policy == "" && strings.TrimSuffix(file, filepath.Ext(file)) == c.name
}

// fresh is the value of a wildcard: no pattern is likely to name it.
const fresh = "drift-0a1b2c3d"

func (c *comparison) match(set *policy.Set, r request) (policy.Match, bool) {
	parsed, err := policy.NewRequest(r.method, r.host, r.path)
	if err != nil {
		return policy.Match{}, false
	}
	name := ""
	if set == c.set {
		name = c.name
	}
	match, err := set.Match(name, &parsed)
	return match, err == nil
}

// route compares the operations of a rule of the document.
func (c *comparison) route(r *rule) {
	for _, p := range r.patterns {
		c.alone(r, p)
		for _, rp := range c.patterns {
			if sample, ok := meet(p, rp.pattern); ok {
				c.compare(r, sample)
			}
		}
	}
}

// alone looks for a rule for the operation as a whole. One that no host is
// written for may have a rule for some hosts.
func (c *comparison) alone(r *rule, p pattern) {
	sample := request{method: cmp.Or(p.method, "GET"), host: p.host, path: p.path(fresh)}
	if _, err := policy.NewRequest(sample.method, sample.host, sample.path); err != nil {
		return // no request can be for it
	}
	hosts := []string{p.host}
	if p.host == "" {
		for _, rp := range c.patterns {
			hosts = append(hosts, rp.pattern.Host)
		}
	}
	slices.Sort(hosts)
	for _, host := range slices.Compact(hosts) {
		sample.host = host
		if match, ok := c.match(c.set, sample); ok && match.Rule() != nil {
			c.compare(r, sample)
			return
		}
	}
	sample.host = p.host
	op := r.operations[0]
	c.add(Finding{
		Kind: RouteWithoutRule, Pos: op.Pos, Request: sample.String(), Operation: op.String(), Route: op.Pos,
		Message: fmt.Sprintf("no rule is for %s (pattern %s): it is denied, and the document asks for %s", printable(op.String()), printable(p.String()), op.Requirement),
	})
}

// compare decides one request by the document and by the policy.
func (c *comparison) compare(r *rule, sample request) {
	owner, ok := c.match(c.document, sample)
	if !ok || c.owners[owner.Rule()] != r {
		return // a more specific operation takes it
	}
	match, ok := c.match(c.set, sample)
	if !ok || match.Rule() == nil {
		return
	}
	c.use(match.Rule(), sample)
	for i, op := range r.operations {
		if i > 0 && !op.closed {
			break // HEAD, as GET
		}
		if why := weaker(op, match); why != "" {
			c.add(Finding{
				Kind: WeakerRule, Pos: match.Rule().Pos, Request: sample.String(), Operation: op.String(), Route: op.Pos,
				Message: fmt.Sprintf("the rule %s is weaker than %s (%s) asks: %s", printable(match.Action()), printable(op.String()), op.Pos, why),
			})
		}
	}
}

// use notes which of the rule's patterns the request met.
func (c *comparison) use(r *policy.Rule, sample request) {
	for _, p := range r.Patterns {
		if covers(p, sample) {
			c.used[p] = true
		}
	}
}

func (c *comparison) unused() {
	for _, rp := range c.patterns {
		if c.used[rp.pattern] || rp.rule.Access == policy.AccessDeny {
			continue
		}
		c.add(Finding{
			Kind: RuleWithoutRoute, Pos: rp.pattern.Pos,
			Message: fmt.Sprintf("the pattern %s is for nothing that the document has", printable(rp.pattern.Text)),
		})
	}
}

// add keeps one finding of each kind for a rule and an operation.
func (c *comparison) add(f Finding) {
	key := strings.Join([]string{f.Kind, f.Pos.String(), f.Operation}, "\n")
	if f.Kind == RouteWithoutRule {
		key += f.Message
	}
	if !c.seen[key] {
		c.seen[key] = true
		c.findings = append(c.findings, f)
	}
}

// weaker says why the rule lets pass what the operation's requirement does not;
// "" if it does not.
func weaker(op *Operation, match policy.Match) string {
	need := op.Requirement
	switch {
	case need.Public, need.Silent, match.Access() == policy.AccessDeny && !match.Rule().Audit:
		return ""
	case match.Rule().Audit:
		return fmt.Sprintf("it is in audit mode, so all requests pass, the document asks for %s", need)
	case match.Decide(nil).Code == policy.Allowed:
		return fmt.Sprintf("it needs no token, the document asks for %s", need)
	case match.Optional():
		return fmt.Sprintf("it is optional, so that a request without a token passes, the document asks for %s", need)
	case len(need.Alternatives) == 0:
		return "the document asks for what no rule can check: " + reasons(op)
	}
	failing, ok := failingScopes(need.Alternatives, universe(need, match.Rule()))
	if !ok {
		return "it has too many alternatives to compare"
	}
	for _, scopes := range failing {
		passes, certain := witness(match, scopes)
		if !certain && !mayAllow(match, scopes) {
			continue
		}
		words := "a token without scopes"
		if len(passes) > 0 {
			words = "a token with " + inWords(passes)
		}
		if certain {
			words += " passes"
		} else {
			words += " may pass (if the condition of the rule holds)"
		}
		return fmt.Sprintf("%s, the document asks for %s", words, need)
	}
	return ""
}

// witness looks for scopes, of those that are not enough for the document, that
// are enough for the rule: as few as it asks for, if that will do.
func witness(match policy.Match, scopes []string) (passes []string, certain bool) {
	few := shown(scopes, match.Rule())
	for _, some := range [][]string{nil, few, scopes} {
		if match.Decide(&policy.Identity{Scopes: some}).Code == policy.Allowed {
			return some, true
		}
	}
	return few, false
}

// shown are those of the scopes that the rule asks for.
func shown(scopes []string, r *policy.Rule) []string {
	var out []string
	asked := false
	for _, scope := range scopes {
		any := slices.Contains(r.AnyScopes, scope)
		if slices.Contains(r.Scopes, scope) || any && !asked || strings.Contains(r.When, `"`+scope+`"`) {
			out = append(out, scope)
		}
		asked = asked || any
	}
	return out
}

func reasons(op *Operation) string {
	var out []string
	for _, n := range op.Notes {
		out = append(out, n.Message)
	}
	return strings.Join(out, "; ")
}

// universe are all scopes that the requirement and the rule know.
func universe(need Requirement, r *policy.Rule) []string {
	all := slices.Concat(append(slices.Clone(need.Alternatives), r.Scopes, r.AnyScopes, scopesOf(r))...)
	slices.Sort(all)
	return slices.Compact(all)
}

// maxFailing bounds the sets that failingScopes gives.
const maxFailing = 4096

// failingScopes gives the largest sets of scopes that are not enough: all but
// one of each alternative. What lets a smaller set pass lets one of these pass,
// as more scopes never take anything away from a rule.
func failingScopes(alternatives [][]string, all []string) (sets [][]string, ok bool) {
	missing := [][]string{nil}
	for _, alternative := range alternatives {
		var next [][]string
		for _, m := range missing {
			if slices.ContainsFunc(alternative, func(s string) bool { return slices.Contains(m, s) }) {
				next = append(next, m)
				continue
			}
			for _, scope := range alternative {
				next = append(next, append(slices.Clone(m), scope))
			}
		}
		if missing = next; len(missing) > maxFailing {
			return nil, false
		}
	}
	for _, m := range missing {
		sets = append(sets, slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(m, s) }))
	}
	return sets, true
}

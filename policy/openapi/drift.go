package openapi

import (
	"cmp"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
	"scopeward/policy/pattern"
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
		for _, op := range r.operations {
			if op.Method == "HEAD" && p.Method == "GET" {
				continue // with its GET
			}
			c.alone(r, p, op)
			for _, rp := range c.patterns {
				if both, ok := p.Meet(&rp.pattern.Pattern); ok {
					if sample, ok := sampleOf(&both, op); ok {
						c.compare(r, sample)
					}
				}
			}
		}
	}
}

// sampleOf gives a request for an operation by a pattern: with its literal segments, and
// fresh values elsewhere. It stands for all such requests that no other pattern takes away.
func sampleOf(p *pattern.Pattern, op *Operation) (request, bool) {
	path, ok := examplePath(p, op.guards(), fresh)
	out := request{method: cmp.Or(p.Method, "GET"), host: p.Host, path: path}
	if _, domain := pattern.SplitHost(p.Host); domain != "" {
		out.host = fresh + domain
	}
	return out, ok
}

// alone looks for a rule for an operation as a whole. One that no host is
// written for may have a rule for some hosts.
func (c *comparison) alone(r *rule, p *pattern.Pattern, op *Operation) {
	sample, ok := sampleOf(p, op)
	if !ok {
		return
	}
	if _, err := policy.NewRequest(sample.method, sample.host, sample.path); err != nil {
		return // no request can be for it
	}
	hosts := []string{sample.host}
	if p.Host == "" {
		for _, rp := range c.patterns {
			hosts = append(hosts, exampleHost(rp.pattern.Host))
		}
	}
	slices.Sort(hosts)
	none := sample
	for _, host := range slices.Compact(hosts) {
		sample.host = host
		if match, ok := c.match(c.set, sample); ok && match.Rule() != nil {
			c.compare(r, sample)
			return
		}
	}
	if r.between {
		return // each operation is told of by itself
	}
	c.add(Finding{
		Kind: RouteWithoutRule, Pos: op.Pos, Request: none.String(), Operation: op.String(), Route: op.Pos,
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
		if i > 0 && op.Method == "HEAD" && op.Path == r.operations[0].Path || !op.asks(owner, sample) {
			continue // as GET, or for other requests
		}
		if why := weaker(op, match, settled(match, r.operations)); why != "" {
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
		path, _, _ := strings.Cut(sample.path, "?")
		if decoded, err := url.PathUnescape(path); err == nil && p.Matches(sample.method, sample.host, decoded) {
			c.used[p] = true
		}
	}
}

// asks reports whether a request, which matches a pattern of the document, has what the
// operation's guards ask for.
func (o *Operation) asks(match policy.Match, sample request) bool {
	path, query, _ := strings.Cut(sample.path, "?")
	segments := strings.Split(strings.Trim(path, "/"), "/")
	values, err := url.ParseQuery(query)
	for _, g := range o.guards() {
		switch {
		case err != nil:
			return false
		case g.pieces == nil:
			if got, ok := values[g.name]; !ok || !g.any && !slices.Equal(got, []string{g.value}) {
				return false
			}
		default:
			text, err := url.PathUnescape(segments[len(segments)-g.fromEnd])
			if err != nil || !g.fits(text) {
				return false
			}
		}
	}
	return match.Rule() != nil
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
func weaker(op *Operation, match policy.Match, settled map[string]bool) string {
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
	for _, scopes := range ofOneProvider(failing) {
		passes, certain := witness(match, scopes)
		if !certain && !mayAllow(match, scopes, settled) {
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
		if match.Decide(identity(some)).Code == policy.Allowed {
			return some, true
		}
	}
	return few, false
}

// identity gives who has the scopes, of which at most one is a provider.
func identity(scopes []string) *policy.Identity {
	id := &policy.Identity{}
	for _, scope := range scopes {
		if provider, ok := strings.CutPrefix(scope, ofProvider); ok {
			id.Provider = provider
		} else {
			id.Scopes = append(id.Scopes, scope)
		}
	}
	return id
}

// ofOneProvider splits sets with several providers: a token has one.
func ofOneProvider(sets [][]string) [][]string {
	var out [][]string
	for _, set := range sets {
		var providers, scopes []string
		for _, scope := range set {
			if strings.HasPrefix(scope, ofProvider) {
				providers = append(providers, scope)
			} else {
				scopes = append(scopes, scope)
			}
		}
		out = append(out, scopes)
		for _, provider := range providers {
			out = append(out, append(slices.Clone(scopes), provider))
		}
	}
	return out
}

// shown are those of the scopes that the rule asks for.
func shown(scopes []string, r *policy.Rule) []string {
	var out []string
	asked := false
	for _, scope := range scopes {
		any := slices.Contains(r.AnyScopes, scope)
		if slices.Contains(r.Scopes, scope) || any && !asked || strings.Contains(r.When, strconv.Quote(strings.TrimPrefix(scope, ofProvider))) {
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

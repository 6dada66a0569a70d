package diff

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"scopeward/policy"
)

// The universe of the property tests: small enough to try every request with
// every token, large enough for patterns to overlap in each way.
var (
	universeMethods  = []string{"GET", "HEAD", "POST", "CONNECT", "OPTIONS", "BREW"}
	universeAsked    = []string{"GET", "HEAD", "POST", "BREW"} // by preflight requests
	universeHosts    = []string{"", "a.test", "b.test"}
	universeSegments = []string{"a", "b", "z", "z%2Fz"}
	universeScopes   = []string{"r", "w", "s", "t"}
)

// randomPolicy writes a policy that loads; when gives conditions, or is nil.
func randomPolicy(r *rand.Rand, rules int, when func(*rand.Rand, []string) string) string {
	var b strings.Builder
	b.WriteString("version: 1\n")
	if r.IntN(3) == 0 {
		b.WriteString("paths: {allow: [encoded_slash]}\n")
	}
	if r.IntN(3) == 0 {
		b.WriteString("preflight: public\n")
	}
	b.WriteString("rules:\n")
	head := b.String()
	written := ""
	for range rules {
		for range 20 { // until one does not conflict
			rule := randomRule(r, when)
			if _, err := parse(head + written + rule); err == nil {
				written += rule
				break
			}
		}
	}
	return head + written
}

func parse(text string) (*policy.Set, error) {
	return policy.Parse(policy.File{Name: "policy.yaml", Data: []byte(text)})
}

func randomRule(r *rand.Rand, when func(*rand.Rand, []string) string) string {
	patterns, wildcards := []string{}, []string{}
	for range 1 + r.IntN(2)*r.IntN(2) {
		var text string
		text, wildcards = randomPattern(r)
		patterns = append(patterns, fmt.Sprintf("%q", text))
	}
	rule := "  - match: [" + strings.Join(patterns, ", ") + "]\n"
	switch r.IntN(6) {
	case 0:
		return rule + "    public: true\n"
	case 1:
		return rule + "    deny: true\n"
	}
	if r.IntN(3) == 0 {
		rule += "    optional: true\n"
	}
	for _, key := range []string{"scopes", "any_scopes"} {
		if some := randomScopes(r); len(some) > 0 && r.IntN(3) > 0 {
			rule += fmt.Sprintf("    %s: [%s]\n", key, strings.Join(some, ", "))
		}
	}
	if r.IntN(4) == 0 {
		rule += "    acr: " + []string{"one", "[one, two]", "[two, three]"}[r.IntN(3)] + "\n"
	}
	if r.IntN(4) == 0 {
		rule += "    max_age: " + []string{"1s", "1m", "60s", "5m"}[r.IntN(4)] + "\n"
	}
	if when != nil && len(patterns) == 1 && r.IntN(3) > 0 {
		rule += fmt.Sprintf("    when: %q\n", when(r, wildcards))
	}
	return rule
}

func randomScopes(r *rand.Rand) []string {
	var some []string
	for _, scope := range universeScopes[:3] {
		if r.IntN(3) == 0 {
			some = append(some, scope)
		}
	}
	return some
}

func randomPattern(r *rand.Rand) (pattern string, wildcards []string) {
	if r.IntN(3) > 0 {
		pattern = []string{"", "", "GET ", "HEAD ", "POST ", "OPTIONS "}[r.IntN(6)] + []string{"", "", "", "a.test", "b.test"}[r.IntN(5)]
	}
	names := []string{"x", "y", "id", "u"}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for i := range r.IntN(4) {
		switch r.IntN(6) {
		case 0, 1:
			pattern += "/a"
		case 2:
			pattern += "/b"
		default:
			pattern += "/{" + names[i] + "}"
			wildcards = append(wildcards, names[i])
		}
	}
	switch r.IntN(8) {
	case 0:
		return pattern + "/", wildcards
	case 1, 2:
		return pattern + "/{$}", wildcards
	case 3, 4:
		return pattern + "/{" + names[3] + "...}", append(wildcards, names[3])
	}
	if strings.HasSuffix(pattern, "test") || strings.HasSuffix(pattern, " ") || pattern == "" {
		pattern += "/a"
	}
	return pattern, wildcards
}

// universe gives every request: paths up to five segments long.
func universe(t *testing.T) []policy.Request {
	t.Helper()
	paths := []string{""}
	targets := []string{"/"}
	for range 4 {
		var longer []string
		for _, p := range paths {
			for _, s := range universeSegments {
				if strings.Contains(p, "%2F") && (s == "z%2Fz" || len(p) > 8) {
					continue
				}
				longer = append(longer, p+"/"+s)
				targets = append(targets, p+"/"+s, p+"/"+s+"/")
			}
		}
		paths = longer
	}
	var all []policy.Request
	for _, method := range universeMethods {
		for _, host := range universeHosts {
			for _, target := range targets {
				r, err := policy.NewRequest(method, host, target)
				if err != nil {
					t.Fatal(err)
				}
				r.Headers, r.Time = map[string]string{"h": "a"}, asked
				r.Body = []*policy.Body{nil, policy.JSONBody(map[string]any{"m": "a"}), policy.JSONBody(map[string]any{"m": int64(1)}), policy.JSONBody("a")}[len(all)%4]
				r.Peer.Principal = []string{"", "a", "b"}[len(all)%3]
				all = append(all, r)
				if method != "OPTIONS" {
					continue
				}
				for _, r.Preflight = range universeAsked {
					all = append(all, r)
				}
			}
		}
	}
	return all
}

// scopeSets gives every set of scopes.
func scopeSets() [][]string {
	var all [][]string
	for bits := range 1 << len(universeScopes) {
		var some []string
		for i, scope := range universeScopes {
			if bits&(1<<i) != 0 {
				some = append(some, scope)
			}
		}
		all = append(all, some)
	}
	return all
}

// rulePair is what both policies find; nil for no rule.
type rulePair struct {
	old, new  *policy.Rule
	preflight bool // for a preflight request
}

// bruteForce asks both policies about everything. It gives an example of what opens and
// of what closes, for each pair of rules.
func bruteForce(old, new *policy.Set, requests []policy.Request, people []caller) (opens, closes map[rulePair]string) {
	type seen struct {
		old, new   *policy.Pattern
		preflights [3]bool
		path       string
	}
	opens, closes = map[rulePair]string{}, map[rulePair]string{}
	done := map[seen]bool{} // patterns decide, and conditions about the path
	conditional := slices.ContainsFunc(slices.Concat(old.Rules(), new.Rules()), func(r *policy.Rule) bool { return r.When != "" })
	asks := old.LetsPreflightsPass() || new.LetsPreflightsPass() // else preflight requests are like others
	for i := range requests {
		r := &requests[i]
		a, _ := old.Match("", r)
		b, _ := new.Match("", r)
		key := seen{a.Pattern(), b.Pattern(), [3]bool{asks && r.Preflight != "", a.ForPreflight(), b.ForPreflight()}, ""}
		if conditional {
			key.path = r.Method + r.Host + r.Path.String()
		}
		if done[key] {
			continue
		}
		done[key] = true
		for _, c := range people {
			was, is := lets(a, c), lets(b, c)
			if is == was {
				continue
			}
			what := fmt.Sprintf("%s %s%s (%s) with %v", r.Method, r.Host, r.Path, r.Preflight, c)
			pair := rulePair{a.Rule(), b.Rule(), asks && r.Preflight != ""}
			if is {
				opens[pair] = what
			} else {
				closes[pair] = what
			}
		}
	}
	return opens, closes
}

// unsaid gives what really happens and no change says.
func unsaid(r *Report, opens, closes map[rulePair]string) string {
	for pair, what := range opens {
		if !slices.ContainsFunc(r.Changes, func(c Change) bool {
			return c.Old == pair.old && c.New == pair.new && c.Preflight == pair.preflight && c.Kind.Opens() && len(c.OpensFor) > 0
		}) {
			return "opens " + what
		}
	}
	for pair, what := range closes {
		if !slices.ContainsFunc(r.Changes, func(c Change) bool {
			return c.Old == pair.old && c.New == pair.new && c.Preflight == pair.preflight && len(c.ClosesFor)+len(c.MayCloseFor) > 0
		}) {
			return "closes " + what
		}
	}
	return ""
}

// unshown gives a claim of the report that its own example does not bear out, as the
// server decides.
func unshown(r *Report, old, new *policy.Set) string {
	for _, c := range r.Changes {
		opens, closes := c.Kind == Opens || c.Kind == Changes, c.Kind == Changes || len(c.ClosesFor) > 0
		switch {
		case opens && !bears(c.opening, c, old, new, true):
			return fmt.Sprintf("%s of %v opens", c.opening, c.Requests)
		case closes && !bears(c.closing, c, old, new, false):
			return fmt.Sprintf("%s of %v closes", c.closing, c.Requests)
		case c.Kind == Opens && len(c.ClosesFor) > 0, c.Kind == Closes && len(c.OpensFor) > 0, c.Kind == Changes && len(c.ClosesFor) == 0:
			return fmt.Sprintf("%s says what it does not: %v, %v", c.Kind, c.OpensFor, c.ClosesFor)
		}
	}
	return ""
}

// bears reads an example as a person would, and asks both policies.
func bears(s *shown, c Change, old, new *policy.Set, opens bool) bool {
	if s == nil {
		return false
	}
	method, url, _ := strings.Cut(s.String(), " ")
	host, target, ok := policy.SplitURL(url)
	r, err := policy.NewRequest(method, host, target)
	if !ok || err != nil {
		return false
	}
	r.Time, r.Body, r.Peer = asked, s.request.Body, s.request.Peer
	r.Headers, r.ClientIP, r.Preflight = s.request.Headers, s.request.ClientIP, s.preflight
	a, _ := old.Match(c.Policy, &r)
	b, _ := new.Match(c.Policy, &r)
	was, is := lets(a, s.caller), lets(b, s.caller)
	return a.Rule() == c.Old && b.Rule() == c.New && was != opens && is == opens
}

// lets decides as the server does: a rule with optional takes those who bring nothing,
// and nobody whose token is not valid.
func lets(m policy.Match, c caller) bool {
	rule := m.Rule()
	if rule != nil && rule.Optional && c == (caller{}) {
		return true
	}
	return m.Decide(c.identity).Code == policy.Allowed
}

func scopePeople() []caller {
	people := []caller{{}, {bad: true}}
	for _, some := range scopeSets() {
		for _, login := range logins() {
			people = append(people, caller{identity: &policy.Identity{Scopes: some, Claims: login}})
		}
	}
	return people
}

// logins gives claims on how and when a user has signed in, on both sides of each edge.
func logins() []map[string]any {
	var all []map[string]any
	for _, acr := range []any{nil, "one", "two", "three", "four", int64(1)} {
		for _, seconds := range []any{nil, int64(-61), int64(-60), int64(0), int64(1), int64(2), int64(60), int64(61), int64(300), int64(301), "0"} {
			claims := map[string]any{}
			if acr != nil {
				claims["acr"] = acr
			}
			if n, ok := seconds.(int64); ok {
				claims["auth_time"] = asked.Unix() - n
			} else if seconds != nil {
				claims["auth_time"] = seconds
			}
			all = append(all, claims)
		}
	}
	return all
}

// mutate makes a new policy from an old one: often near it, as edits are.
func mutate(r *rand.Rand, old string, when func(*rand.Rand, []string) string) string {
	if r.IntN(3) == 0 {
		return randomPolicy(r, 1+r.IntN(5), when)
	}
	rules := strings.Split(old, "  - match:")
	head, rules := rules[0], rules[1:]
	r.Shuffle(len(rules), func(i, j int) { rules[i], rules[j] = rules[j], rules[i] })
	if len(rules) > 1 && r.IntN(2) == 0 {
		rules = rules[1:]
	}
	if r.IntN(4) == 0 {
		head = "version: 1\nrules:\n"
	}
	text := head + "  - match:" + strings.Join(rules, "  - match:")
	if r.IntN(2) == 0 {
		for range 20 {
			if longer := text + randomRule(r, when); loads(longer) {
				return longer
			}
		}
	}
	return text
}

func loads(text string) bool {
	_, err := parse(text)
	return err == nil
}

// go test ./policy/diff -rounds 10000 looks long.
var rounds = flag.Uint64("rounds", 60, "how many random policies are compared with brute force")

// TestAgainstBruteForce: without conditions, diff says that something opens if
// and only if a request opens, and the same of closing.
func TestAgainstBruteForce(t *testing.T) {
	requests, people := universe(t), scopePeople()
	outcomes := map[string]int{}
	for seed := range *rounds {
		r := rand.New(rand.NewPCG(seed, 1))
		oldText := randomPolicy(r, 1+r.IntN(5), nil)
		newText := mutate(r, oldText, nil)
		old, new := mustParse(t, oldText), mustParse(t, newText)
		opens, closes := bruteForce(old, new, requests, people)
		report := Compare(old, new, Options{})
		saysCloses := report.Count(Closes)+report.Count(Changes) > 0
		wrong := cmp.Or(unsaid(report, opens, closes), unshown(report, old, new))
		if wrong != "" || report.Opens() != (len(opens) > 0) || saysCloses != (len(closes) > 0) || report.Count(MayDiffer) > 0 {
			var text strings.Builder
			_ = report.Text(&text)
			t.Fatalf("seed %d: %s: really opens %v, closes %v; diff says:\n%s\nold:\n%s\nnew:\n%s", seed, wrong, opens, closes, &text, oldText, newText)
		}
		outcomes[fmt.Sprint(len(opens) > 0, len(closes) > 0)]++
	}
	if len(outcomes) != 4 {
		t.Errorf("the random policies are no good test: %v", outcomes)
	}
}

func mustParse(t testing.TB, text string) *policy.Set {
	t.Helper()
	set, err := parse(text)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return set
}

// randomCondition writes a condition that the universe can tell from others.
func randomCondition(r *rand.Rand, wildcards []string) string {
	return randomBool(r, wildcards, 3)
}

func randomBool(r *rand.Rand, wildcards []string, depth int) string {
	if depth > 0 {
		a := func() string { return randomBool(r, wildcards, depth-1) }
		switch r.IntN(8) {
		case 0, 1:
			return "(" + a() + " && " + a() + ")"
		case 2:
			return "(" + a() + " || " + a() + ")"
		case 3:
			return "!(" + a() + ")"
		case 4:
			return "(" + a() + " ? " + a() + " : " + a() + ")"
		case 5:
			return "((" + a() + ") == (" + a() + "))"
		}
	}
	texts := []string{"identity.subject", "identity.claims.c", `"a"`, `"b"`, `identity.claims["c"]`, `request.headers["h"]`}
	for _, name := range wildcards {
		texts = append(texts, "path."+name, "path."+name)
	}
	text := func() string { return texts[r.IntN(len(texts))] }
	switch r.IntN(10) {
	case 8:
		return fmt.Sprintf("size(identity.scopes) %s %d", []string{">", "==", "<="}[r.IntN(3)], r.IntN(3))
	case 9:
		return []string{`request.method == "GET"`, `request.host == "a.test"`, `identity.claims.n > 1`, `identity.claims.acr == "one"`, `identity.claims.auth_time > 1`, `request.json.m == "a"`, `has(request.json.m)`, `request.peer.principal == "a"`, `request.path == "/a/b"`, `request.client_ip != ""`}[r.IntN(10)]
	case 0:
		return fmt.Sprintf("%q in identity.scopes", universeScopes[r.IntN(3)])
	case 1:
		return text() + ` in ["a", "b"]`
	case 2:
		return text() + ` in ["b"]`
	case 3:
		return text() + " != " + text()
	case 4:
		return "has(identity.claims.c)"
	case 5:
		return []string{"true", "false", `"a" + "b" == "ab"`, `1 > 2`}[r.IntN(4)]
	case 6:
		return "identity.scopes.exists(s, s == " + text() + ")"
	default:
		return text() + " == " + text()
	}
}

func conditionPeople() []caller {
	people := []caller{{}, {bad: true}}
	for _, scopes := range [][]string{nil, {"r"}, {"r", "w"}, {"w", "s"}, {"r", "w", "s", "a"}} {
		for _, subject := range []string{"a", "b", "z"} {
			for _, claims := range []map[string]any{nil, {"c": "a"}, {"c": "b"}, {"c": 1.0}} {
				people = append(people, caller{identity: &policy.Identity{Subject: subject, Scopes: scopes, Claims: claims}})
			}
		}
	}
	for _, scopes := range [][]string{{"r"}, {"r", "w", "s", "a"}} {
		for _, login := range logins() {
			for name, value := range map[string]any{"c": "a", "n": int64(2)} {
				login[name] = value
			}
			people = append(people, caller{identity: &policy.Identity{Subject: "a", Scopes: scopes, Claims: login}})
		}
	}
	return people
}

// rewrite changes a condition here and there, often without a change of meaning.
func rewrite(r *rand.Rand, text string) string {
	rules := strings.Split(text, "    when: ")
	for i := 1; i < len(rules); i++ {
		line, rest, _ := strings.Cut(rules[i], "\n")
		was, err := strconv.Unquote(line)
		if err != nil {
			panic(err)
		}
		is := was
		switch r.IntN(7) {
		case 0:
			is = "!!(" + was + ")"
		case 1:
			is = `"r" in identity.scopes && (` + was + ")"
		case 2:
			is = "(" + was + `) || "s" in identity.scopes`
		case 3:
			is = strings.ReplaceAll(was, "&&", "||")
		case 4:
			is = "(" + was + ") || !(" + was + ")"
		case 5:
			is = "(" + was + ") && !(!(" + was + "))"
		}
		rules[i] = strconv.Quote(is) + "\n" + rest
	}
	return strings.Join(rules, "    when: ")
}

// TestConditionsAgainstBruteForce: with conditions, nothing that opens or closes is
// missed, and what is asserted is shown by its example.
func TestConditionsAgainstBruteForce(t *testing.T) {
	requests, people := universe(t), conditionPeople()
	requests = slices.DeleteFunc(requests, func(q policy.Request) bool {
		return strings.Count(q.Path.String(), "/") > 3
	})
	outcomes, kinds := map[string]int{}, map[Kind]int{}
	for seed := range *rounds {
		r := rand.New(rand.NewPCG(seed, 2))
		oldText := randomPolicy(r, 1+r.IntN(3), randomCondition)
		newText := rewrite(r, oldText)
		if r.IntN(4) == 0 || !loads(newText) {
			newText = mutate(r, oldText, randomCondition)
		}
		old, new := mustParse(t, oldText), mustParse(t, newText)
		opens, closes := bruteForce(old, new, requests, people)
		report := Compare(old, new, Options{})
		if wrong := cmp.Or(unsaid(report, opens, closes), unshown(report, old, new)); wrong != "" {
			var text strings.Builder
			_ = report.Text(&text)
			t.Fatalf("seed %d: %s; diff says:\n%s\nold:\n%s\nnew:\n%s", seed, wrong, &text, oldText, newText)
		}
		for _, c := range report.Changes {
			kinds[c.Kind]++
		}
		outcomes[fmt.Sprint(len(opens) > 0, report.Opens())]++
	}
	t.Log(kinds)
	if outcomes["true true"] == 0 || outcomes["false false"] == 0 {
		t.Errorf("the random policies are no good test: %v", outcomes)
	}
}

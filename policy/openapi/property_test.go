package openapi

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"scopeward/policy"
)

// The property tests try all requests of a small world, with all sets of
// scopes, against documents and policies made at random.
var (
	worldMethods  = []string{"GET", "HEAD", "POST"}
	worldSegments = []string{"a", "b", "{x}"}
	worldScopes   = []string{"r", "w", "s"}
	worldHosts    = []string{"one.example", "two.example", "other.example"} // no document names the last
)

func randomPath(r *rand.Rand) []string {
	path := make([]string, 1+r.IntN(2))
	for i := range path {
		path[i] = worldSegments[r.IntN(len(worldSegments))]
	}
	return path
}

func randomScopes(r *rand.Rand) []string {
	return slices.DeleteFunc(slices.Clone(worldScopes), func(string) bool { return r.IntN(2) == 0 })
}

// worldServer is a server of an operation, with the path below which it is.
type worldServer struct {
	url, host string // no host: any
	path      []string
}

// randomServers are for a path; with them it is at most two segments long.
func randomServers(r *rand.Rand, path []string) []worldServer {
	all := []worldServer{
		{"", "", nil}, {"/", "", nil}, {"https://one.example", "one.example", nil}, {"https://two.example", "two.example", nil},
		{"https://one.example/a", "one.example", []string{"a"}},
	}
	all = all[:len(all)+1-len(path)]
	servers := []worldServer{all[r.IntN(len(all))]}
	if second := all[1+r.IntN(len(all)-1)]; servers[0].url != "" && r.IntN(3) == 0 {
		servers = append(servers, second)
	}
	return servers
}

// worldOperation is an operation at one of its servers as the oracle sees it.
type worldOperation struct {
	number       int    // operations at several servers have the same
	host         string // empty: any
	method       string
	path         []string
	public       bool
	alternatives [][]string // empty: what no rule can check
}

func (o worldOperation) serves(method, host string, path []string) bool {
	if o.method != method || o.host != "" && o.host != host || len(o.path) != len(path) {
		return false
	}
	for i := range path {
		if o.path[i] != path[i] && o.path[i] != "{x}" {
			return false
		}
	}
	return true
}

func (o worldOperation) admits(token bool, scopes []string) bool {
	return o.public || token && slices.ContainsFunc(o.alternatives, func(a []string) bool { return containsAll(scopes, a) })
}

// moreConcrete: all paths of o are paths of p too, and p has more. Hosts don't
// count: OpenAPI knows no order of servers.
func (o worldOperation) moreConcrete(p worldOperation) bool {
	if len(o.path) != len(p.path) || slices.Equal(o.path, p.path) {
		return false
	}
	for i := range p.path {
		if p.path[i] != o.path[i] && p.path[i] != "{x}" {
			return false
		}
	}
	return true
}

func randomDocument(r *rand.Rand) (string, []worldOperation) {
	var operations []worldOperation
	paths := map[string]map[string]string{}
	hosts := r.IntN(2) == 0 // else no document names a host
	for number := range 1 + r.IntN(5) {
		o := worldOperation{number: number, method: worldMethods[r.IntN(len(worldMethods))], path: randomPath(r)}
		key := "/" + strings.Join(o.path, "/")
		key = strings.Replace(key, "{x}/{x}", "{x}/{y}", 1)
		if paths[key] == nil {
			paths[key] = map[string]string{}
		}
		method := strings.ToLower(o.method)
		if paths[key][method] != "" {
			continue
		}
		var written []string
		for range r.IntN(4) {
			switch scopes := randomScopes(r); r.IntN(5) {
			case 0:
				written = append(written, "{key: []}")
			case 1:
				written = append(written, fmt.Sprintf("{oauth: [%s], key: []}", strings.Join(scopes, ", ")))
			default:
				written = append(written, fmt.Sprintf("{oauth: [%s]}", strings.Join(scopes, ", ")))
				o.alternatives = append(o.alternatives, scopes)
			}
		}
		if len(written) == 0 || r.IntN(8) == 0 {
			o.public, written = true, nil
		}
		servers := []worldServer{{}}
		if hosts {
			servers = randomServers(r, o.path)
		}
		paths[key][method] = "security: [" + strings.Join(written, ", ") + "], servers: ["
		path := o.path
		for _, server := range servers {
			if server.url != "" {
				paths[key][method] += fmt.Sprintf("{url: %q}, ", server.url)
			}
			o.host, o.path = server.host, slices.Concat(server.path, path)
			operations = append(operations, o)
		}
		paths[key][method] += "]"
	}
	var w strings.Builder
	w.WriteString("openapi: 3.1.0\ninfo: {title: T, version: v}\npaths:\n")
	for path, methods := range paths {
		fmt.Fprintf(&w, "  %q:\n", path)
		for method, body := range methods {
			fmt.Fprintf(&w, "    %s: {%s}\n", method, body)
		}
	}
	w.WriteString("components: {securitySchemes: {oauth: {type: oauth2, flows: {}}, key: {type: apiKey, in: header, name: k}}}\n")
	return w.String(), operations
}

// world calls f for each request of the world.
func world(f func(method, host string, path []string)) {
	values := []string{"a", "b", "c"}
	var paths [][]string
	for _, v := range values {
		paths = append(paths, []string{v})
		for _, w := range values {
			paths = append(paths, []string{v, w})
		}
	}
	for _, method := range worldMethods {
		for _, host := range worldHosts {
			for _, path := range paths {
				f(method, host, path)
			}
		}
	}
}

// callers are those of the world; nil has no token.
func callers() []*policy.Identity {
	ids := []*policy.Identity{nil}
	for set := range 1 << len(worldScopes) {
		id := &policy.Identity{}
		for i, scope := range worldScopes {
			if set>>i&1 == 1 {
				id.Scopes = append(id.Scopes, scope)
			}
		}
		ids = append(ids, id)
	}
	return ids
}

func match(t *testing.T, set *policy.Set, method, host string, path []string) policy.Match {
	t.Helper()
	r, err := policy.NewRequest(method, host, "/"+strings.Join(path, "/"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := set.Match("", &r)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func allowed(m policy.Match, id *policy.Identity) bool { return m.Decide(id).Code == policy.Allowed }

// serving gives the operations that a request could be for, as concrete paths go first
// (OpenAPI 3.1 §4.8.8.1). HEAD without an operation is as GET.
func serving(operations []worldOperation, method, host string, path []string) []worldOperation {
	var all []worldOperation
	for _, o := range operations {
		if o.serves(method, host, path) {
			all = append(all, o)
		}
	}
	if len(all) == 0 && method == "HEAD" {
		return serving(operations, "GET", host, path)
	}
	return slices.DeleteFunc(slices.Clone(all), func(o worldOperation) bool {
		return slices.ContainsFunc(all, func(p worldOperation) bool { return p.moreConcrete(o) })
	})
}

// admitted tells what the document says of a caller: all operations that the request could
// be for must admit it, and nothing else is said.
func admitted(serving []worldOperation, id *policy.Identity) bool {
	for _, o := range serving {
		if !o.admits(id != nil, scopesIn(id)) {
			return false
		}
	}
	return len(serving) > 0
}

func scopesIn(id *policy.Identity) []string {
	if id == nil {
		return nil
	}
	return id.Scopes
}

// TestImportNeverOpens: what the policy allows the document admits; and where
// no operation had to be closed, the two are the same.
func TestImportNeverOpens(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	people, same := callers(), 0
	for range 200 {
		text, operations := randomDocument(r)
		d := document(t, text)
		set, err := policy.Parse(policy.File{Name: "p", Data: []byte(imported(t, d))})
		if err != nil {
			t.Fatal(err)
		}
		closed := slices.ContainsFunc(d.Operations, func(op *Operation) bool { return op.closed })
		world(func(method, host string, path []string) {
			m, could := match(t, set, method, host, path), serving(operations, method, host, path)
			exact := !closed && method != "HEAD" && !slices.ContainsFunc(could, func(o worldOperation) bool { return o.number != could[0].number })
			for _, id := range people {
				got, want := allowed(m, id), admitted(could, id)
				if got && !want || exact && got != want {
					t.Fatalf("%s %s %v with %v: the policy says %t, the document %t\n%s\n%s", method, host, path, id, got, want, text, imported(t, d))
				}
			}
		})
		if !closed {
			same++
		}
	}
	if same < 40 {
		t.Errorf("only %d documents had no conflict: the test says little", same)
	}
}

func randomPolicy(r *rand.Rand) string {
	var w strings.Builder
	w.WriteString("version: 1\nrules:\n")
	for range 1 + r.IntN(5) {
		method := append(slices.Clone(worldMethods), "")[r.IntN(4)]
		path := "/" + strings.Join(randomPath(r), "/")
		path = strings.Replace(path, "{x}/{x}", "{x}/{y}", 1)
		if r.IntN(6) == 0 {
			path = "/{rest...}"
		}
		host := append(slices.Clone(worldHosts), "", "", "")[r.IntN(len(worldHosts)+3)]
		fmt.Fprintf(&w, "  - match: %q\n", strings.TrimSpace(method+" "+host+path))
		switch r.IntN(6) {
		case 0:
			w.WriteString("    public: true\n")
		case 1:
			w.WriteString("    deny: true\n")
		default:
			if scopes := randomScopes(r); len(scopes) > 0 {
				fmt.Fprintf(&w, "    scopes: [%s]\n", strings.Join(scopes, ", "))
			}
			if scopes := randomScopes(r); len(scopes) > 0 && r.IntN(2) == 0 {
				fmt.Fprintf(&w, "    any_scopes: [%s]\n", strings.Join(scopes, ", "))
			}
			if r.IntN(4) == 0 {
				w.WriteString("    when: '\"r\" in identity.scopes || \"s\" in identity.scopes && \"w\" in identity.scopes'\n")
			}
		}
	}
	return w.String()
}

// TestDriftAgainstBruteForce: drift finds a weaker rule exactly if the policy
// lets a request of the world pass that the document, as a policy, does not.
func TestDriftAgainstBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	people, counts := callers(), map[bool]int{}
	for range 250 {
		text, _ := randomDocument(r)
		d := document(t, text)
		if slices.ContainsFunc(d.Operations, func(op *Operation) bool { return op.closed }) {
			continue
		}
		rules := randomPolicy(r)
		set, err := policy.Parse(policy.File{Name: "p", Data: []byte(rules)})
		if err != nil {
			continue // patterns in conflict
		}
		own, err := policy.Parse(policy.File{Name: "d", Data: []byte(imported(t, d))})
		if err != nil {
			t.Fatal(err)
		}
		findings, err := d.Drift(set, "")
		if err != nil {
			t.Fatal(err)
		}
		weaker, example, noRule := false, "", false
		world(func(method, host string, path []string) {
			asked := match(t, own, method, host, path)
			if asked.Rule() == nil {
				return // not a route
			}
			m := match(t, set, method, host, path)
			if m.Rule() == nil {
				noRule = true
			}
			for _, id := range people {
				if allowed(m, id) && !allowed(asked, id) {
					weaker, example = true, fmt.Sprint(method, host, path, id)
				}
			}
		})
		found := func(kind string) bool {
			return slices.ContainsFunc(findings, func(f Finding) bool { return f.Kind == kind })
		}
		counts[weaker]++
		if found(WeakerRule) != weaker {
			t.Fatalf("weaker is %t (%s), drift says %v\n%s\n%s", weaker, example, findings, text, rules)
		}
		if found(RouteWithoutRule) && !noRule {
			t.Fatalf("every route has a rule, drift says %v\n%s\n%s", findings, text, rules)
		}
	}
	if counts[true] < 25 || counts[false] < 25 {
		t.Errorf("weaker and not: %v: the test says little", counts)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("openapi: 3.1.0\ninfo: {title: T, version: v}\npaths: {/x: {get: {security: [{oauth: [a]}]}}}\ncomponents: {securitySchemes: {oauth: {type: oauth2}}}\n")
	f.Add("openapi: 3.1.0\npaths: {'/k/{id}': {get: {security: [], servers: [{url: 'https://a.example'}]}}, /k/s: {get: {security: [{oauth: [a]}]}}}\ncomponents: {securitySchemes: {oauth: {type: oauth2}, b: {$ref: '#/c'}}}\n")
	f.Add("openapi: 3.0.0\nservers: [{url: 'https://{a}/b', variables: {a: {enum: [x, y]}}}]\npaths: {'/{a}.{b}': {get: {}}, '/c?d': {head: {security: []}}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Read("api.yaml", strings.NewReader(text), Options{})
		if err != nil {
			return
		}
		made, err := d.Policy()
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		set, err := policy.Parse(policy.File{Name: "p", Data: made.Policy})
		if err != nil {
			t.Fatalf("%v\n%s", err, made.Policy)
		}
		findings, err := d.Drift(set, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, finding := range findings {
			if finding.Kind == WeakerRule {
				t.Errorf("the policy is weaker than its document: %v", finding)
			}
		}
	})
}

package openapi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"scopeward/policy"
	"scopeward/policy/pattern"
)

// testCase is a test of the policy that is made.
type testCase struct {
	request request
	token   bool // a valid one, with these scopes
	scopes  []string
	expect  string
}

// request is a request as the tests of a policy name it.
type request struct{ method, host, path string }

func (r request) String() string {
	if r.host != "" {
		return r.method + " https://" + r.host + r.path
	}
	return r.method + " " + r.path
}

// tests gives the tests of the policy: for each operation a request that is
// allowed and one that is not, as far as there are both. An operation without a
// host has them for each host of the document too.
func (im *Import) tests(d *Document, set *policy.Set) (string, error) {
	var w strings.Builder
	hosts := d.hosts()
	for _, op := range d.Operations {
		at := slices.IndexFunc(d.rules, func(r *rule) bool { return !r.between && slices.Contains(r.operations, op) })
		for _, targets := range op.places(hosts) {
			sample, match, found := im.sample(op, targets, set, at)
			if !found {
				continue
			}
			for _, t := range im.Rules[at].cases(op, sample, match) {
				if err := t.check(match); err != nil {
					return "", fmt.Errorf("the policy made of the document does not decide as it, which is a mistake of this program: %s: %w", op, err)
				}
				t.write(&w)
			}
		}
	}
	if w.Len() == 0 {
		return "", nil
	}
	return "tests:\n" + w.String(), nil
}

// hosts are those that the servers of the operations name.
func (d *Document) hosts() []string {
	var hosts []string
	for _, op := range d.Operations {
		for _, t := range op.targets {
			if t.Host != "" && !slices.Contains(hosts, t.Host) {
				hosts = append(hosts, t.Host)
			}
		}
	}
	return hosts
}

// places gives the targets of an operation, and those that one for all hosts
// has at each of these hosts. Each of them wants a sample.
func (o *Operation) places(hosts []string) [][]target {
	out := [][]target{o.targets}
	for _, host := range hosts {
		var there []target
		for _, t := range o.targets {
			if t.Host == "" {
				t.Host = host
				there = append(there, t)
			}
		}
		if len(there) > 0 {
			out = append(out, there)
		}
	}
	return out
}

// sample finds a request for the operation at one of the targets: one that its
// rule matches.
func (im *Import) sample(op *Operation, targets []target, set *policy.Set, rule int) (request, policy.Match, bool) {
	if len(im.Rules[rule].Patterns) == 0 {
		return request{}, policy.Match{}, false
	}
	written := 0 // the rules before it that are in the file
	for _, r := range im.Rules[:rule] {
		if len(r.Patterns) > 0 {
			written++
		}
	}
	want := set.Rules()[written]
	for _, t := range targets {
		for _, value := range []string{"1", "2", "x1", "sample-1", "0a1b2c"} {
			path, ok := examplePath(&t.Pattern, t.guards, value)
			if !ok {
				continue
			}
			r := request{method: cmp.Or(op.Method, "GET"), host: exampleHost(t.Host), path: path}
			parsed, err := policy.NewRequest(r.method, r.host, r.path)
			if err != nil {
				continue
			}
			if match, err := set.Match("", &parsed); err == nil && match.Rule() == want {
				return r, match, true
			}
		}
	}
	return request{}, policy.Match{}, false
}

// exampleHost gives a host of a pattern.
func exampleHost(host string) string {
	if _, domain := pattern.SplitHost(host); domain != "" {
		return "acme" + domain
	}
	return host
}

// cases gives a test that is allowed and one that is not, as far as tests can say so: they
// have no provider.
func (r ImportedRule) cases(op *Operation, sample request, match policy.Match) []testCase {
	switch {
	case r.Access == policy.AccessPublic:
		return []testCase{{request: sample, expect: "allow"}}
	case r.Access == policy.AccessDeny:
		return []testCase{{request: sample, expect: "access_denied"}}
	}
	deny := testCase{request: sample, token: true, expect: "access_denied"}
	switch match.Decide(&policy.Identity{}).Code {
	case policy.Allowed:
		deny = testCase{request: sample, expect: "missing_token"}
	case policy.InsufficientScope:
		deny.expect = "insufficient_scope"
	}
	if len(op.Requirement.Alternatives) == 0 {
		return []testCase{deny}
	}
	allow := testCase{request: sample, token: true, scopes: op.Requirement.Alternatives[0], expect: "allow"}
	for _, other := range r.Operations { // the request may be for them, too
		if needs := other.Requirement.Alternatives; other != op && len(needs) > 0 {
			allow.scopes = union(allow.scopes, needs[0])
		}
	}
	if slices.ContainsFunc(allow.scopes, func(scope string) bool { return strings.HasPrefix(scope, ofProvider) }) {
		return []testCase{deny}
	}
	return []testCase{allow, deny}
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// check decides the test as the server would.
func (t testCase) check(match policy.Match) error {
	var id *policy.Identity
	if t.token {
		id = &policy.Identity{Scopes: t.scopes}
	}
	got := "access_denied"
	switch code := match.Decide(id).Code; {
	case code == policy.Allowed:
		got = "allow"
	case id == nil && match.Access() == policy.AccessToken:
		got = "missing_token"
	case code == policy.InsufficientScope:
		got = "insufficient_scope"
	case code == policy.InsufficientAuthentication:
		got = "insufficient_user_authentication"
	}
	if got != t.expect {
		return fmt.Errorf("%s gets %s instead of %s", t.request, got, t.expect)
	}
	return nil
}

func (t testCase) write(w *strings.Builder) {
	fmt.Fprintf(w, "  - {request: %s", quoted(t.request.String()))
	if t.token {
		fmt.Fprintf(w, ", scopes: %s", flow(t.scopes))
	}
	fmt.Fprintf(w, ", expect: %s}\n", t.expect)
}

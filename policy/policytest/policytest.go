// Package policytest runs the tests that are written in policy files.
//
// A test is a request and the answer that it must get. What it gets is decided by
// policy.Set.Match and Match.Decide alone, as in the server. A test without token,
// scopes and claims brings no token; one with scopes or claims brings a valid one.
// The tests of a file with a `name:` ask the policy of that name, all others the
// default policy, which has the rules of all files without a name.
package policytest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
	"scopeward/policy/explain"
)

// Report is what became of the tests of a set.
type Report struct {
	Results  []Result
	Files    []string // of the policies, in their order
	Untested []string // the files among them that have no test
	Coverage Coverage
}

// Result is the outcome of one test.
type Result struct {
	Test   *policy.Test
	Actual string // allow, or the code of a denial
	Rule   string // what matched: the rule's name, else its pattern; empty if none did
	RuleAt strictyaml.Pos
	Reason string // of a denial, in words

	// Fault says in words what is wrong; empty if the test passed.
	Fault string
}

// Passed reports whether the request got the answer that the test expects.
func (r Result) Passed() bool { return r.Fault == "" }

// Responder gives what a client gets for an outcome. Policies know nothing of that.
type Responder func(explain.Question, explain.Outcome) *explain.Response

// Run runs all tests of a set.
func Run(set *policy.Set, respond Responder) Report {
	report := Report{Coverage: newCoverage(set)}
	for _, rule := range set.Rules() {
		if !slices.Contains(report.Files, rule.Pos.File) {
			report.Files = append(report.Files, rule.Pos.File)
		}
	}
	tested, now := map[string]bool{}, time.Now().Truncate(time.Second)
	for _, test := range set.Tests() {
		tested[test.Pos.File] = true
		q := explain.Question{
			Policy: test.Policy, Method: test.Method, Host: test.Host, Target: test.Target,
			Headers: test.Headers, Token: test.Token, Identity: test.IdentityAt(now), Time: now, Peer: test.Peer, Body: test.Sent,
		}
		out := explain.Decide(set, q)
		report.Coverage.touch(out)
		report.Results = append(report.Results, judge(set, test, q, out, respond))
	}
	for _, file := range report.Files {
		if !tested[file] {
			report.Untested = append(report.Untested, file)
		}
	}
	return report
}

// Failed gives the tests that failed.
func (r Report) Failed() []Result {
	var failed []Result
	for _, result := range r.Results {
		if !result.Passed() {
			failed = append(failed, result)
		}
	}
	return failed
}

func judge(set *policy.Set, test *policy.Test, q explain.Question, out explain.Outcome, respond Responder) Result {
	r := Result{Test: test, Actual: out.Code, Rule: out.Match.Action(), Reason: out.Reason}
	if rule := out.Match.Rule(); rule != nil {
		r.RuleAt = rule.Pos
	}
	switch {
	case r.Actual != test.Expect:
		r.Fault = fmt.Sprintf("expected %s, got %s%s: %s", test.Expect, r.Actual, r.byRule(), why(out))
		if test.Expect == explain.Allow {
			e, _ := explain.Explain(set, q)
			r.Fault += "; to pass it needs " + strings.Join(e.ToPass, ", and ")
		}
		if test.Rule != "" && !isCalled(out.Match, test.Rule) {
			r.Fault += fmt.Sprintf("; the rule %s was expected", test.Rule)
		}
	case test.Rule != "" && !isCalled(out.Match, test.Rule):
		r.Fault = fmt.Sprintf("expected the rule %s, got %s", test.Rule, r.Actual)
		if r.Fault += r.byRule(); r.Rule == "" {
			r.Fault += " without a rule"
		}
	case test.Status != 0 || test.Body != "":
		r.Fault = unlike(test, q, out, respond)
	}
	return r
}

// unlike says how an answer differs from what a test expects; "" if it doesn't.
func unlike(test *policy.Test, q explain.Question, out explain.Outcome, respond Responder) string {
	if respond == nil {
		return "nobody knows the answer's status and body here"
	}
	got := respond(q, out)
	switch {
	case test.Status != 0 && got.Status != test.Status:
		return fmt.Sprintf("expected the status %d, got %d; the body is %q", test.Status, got.Status, got.Body)
	case !strings.Contains(got.Body, test.Body):
		return fmt.Sprintf("expected a body with %q, got %q", test.Body, got.Body)
	}
	return ""
}

// isCalled reports whether a match is of the rule that is meant by its name or by
// one of its patterns as it is written.
func isCalled(m policy.Match, name string) bool {
	rule := m.Rule()
	return rule != nil && (rule.Name == name || slices.ContainsFunc(rule.Patterns, func(p *policy.Pattern) bool { return p.Text == name }))
}

// byRule names the rule that matched, with its place.
func (r Result) byRule() string {
	if r.Rule == "" {
		return ""
	}
	return fmt.Sprintf(" by the rule %s (%s)", r.Rule, r.RuleAt)
}

// why says why the answer is what it is.
func why(out explain.Outcome) string {
	switch {
	case out.WouldBe != "":
		return fmt.Sprintf("its mode is audit, so that it does not enforce %s: %s", out.WouldBe, out.Reason)
	case out.Reason != "":
		return out.Reason
	case out.Match.ForPreflight():
		return "it is a browser's preflight request, which the file lets pass (preflight: public)"
	case out.Match.Access() == policy.AccessPublic:
		return "it is public"
	case out.Match.Optional() && out.Decision.Code == policy.Allowed:
		return "it is optional, so that no token is needed, and a token that is there has all that it asks for"
	default:
		return "the token has all that it asks for"
	}
}

// Describe says what a test asks, as a line.
func Describe(t *policy.Test) string {
	text := t.Request
	switch {
	case t.Token == policy.TokenNone:
		text += " without a token"
	case t.Token != policy.TokenValid:
		text += fmt.Sprintf(" with an %s token", t.Token)
	case len(t.Identity.Scopes) > 0:
		text += " with " + strings.Join(t.Identity.Scopes, " ")
	default:
		text += " with a token without scopes"
	}
	if t.Policy != "" {
		text += " under the policy " + t.Policy
	}
	return text
}

package policytest

import (
	"encoding/json"
	"io"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
)

type jsonPlace struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

func place(p strictyaml.Pos) jsonPlace { return jsonPlace(p) }

type jsonReport struct {
	OK       bool          `json:"ok"`
	Passed   int           `json:"passed"`
	Failed   int           `json:"failed"`
	Tests    []jsonTest    `json:"tests"`
	Untested []string      `json:"untested,omitempty"`
	Faults   []string      `json:"faults,omitempty"`
	Coverage *jsonCoverage `json:"coverage,omitempty"`
	Problems []jsonProblem `json:"problems,omitempty"`
}

type jsonProblem struct {
	jsonPlace
	Message string `json:"message"`
}

type jsonTest struct {
	jsonPlace
	Policy       string       `json:"policy,omitempty"`
	Request      string       `json:"request"`
	Token        policy.Token `json:"token"`
	Scopes       []string     `json:"scopes,omitempty"`
	Expected     string       `json:"expected"`
	Actual       string       `json:"actual"`
	ExpectedRule string       `json:"expected_rule,omitempty"`
	Rule         string       `json:"rule,omitempty"`
	Passed       bool         `json:"passed"`
	Reason       string       `json:"reason,omitempty"`
	Fault        string       `json:"fault,omitempty"`
}

type jsonCoverage struct {
	Percent  float64            `json:"percent"`
	Branches int                `json:"branches"`
	Taken    int                `json:"taken"`
	Rules    []jsonRuleCoverage `json:"rules"`
}

type jsonRuleCoverage struct {
	jsonPlace
	Rule    string   `json:"rule"`
	Touched bool     `json:"touched"`
	Missing []string `json:"missing,omitempty"`
	Hint    string   `json:"hint,omitempty"`
}

func (r Report) writeJSON(w io.Writer, o Options) error {
	failed := len(r.Failed())
	out := jsonReport{
		OK: r.OK(o), Passed: len(r.Results) - failed, Failed: failed,
		Tests: []jsonTest{}, Untested: r.Untested, Faults: r.Faults(o),
	}
	for _, result := range r.Results {
		t := jsonTest{
			jsonPlace: place(result.Test.Pos), Policy: result.Test.Policy, Request: result.Test.Request, Token: result.Test.Token,
			Expected: result.Test.Expect, Actual: result.Actual, ExpectedRule: result.Test.Rule, Rule: result.Rule,
			Passed: result.Passed(), Reason: result.Reason, Fault: result.Fault,
		}
		if id := result.Test.Identity; id != nil {
			t.Scopes = id.Scopes
		}
		out.Tests = append(out.Tests, t)
	}
	if o.Coverage || o.FailUnder > 0 {
		out.Coverage = r.Coverage.json()
	}
	return encodeJSON(w, out)
}

func (c Coverage) json() *jsonCoverage {
	out := &jsonCoverage{Percent: c.Percent(), Rules: []jsonRuleCoverage{}}
	out.Branches, out.Taken = c.Branches()
	for _, rule := range c.Rules {
		out.Rules = append(out.Rules, jsonRuleCoverage{
			jsonPlace: place(rule.Rule.Pos), Rule: rule.Name(), Touched: !rule.Untouched(), Missing: rule.Missing(), Hint: rule.Hint(),
		})
	}
	return out
}

func encodeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func writeJSONProblems(w io.Writer, problems strictyaml.Problems) error {
	out := jsonReport{Tests: []jsonTest{}}
	for _, p := range problems {
		out.Problems = append(out.Problems, jsonProblem{place(p.Pos), p.Message})
	}
	return encodeJSON(w, out)
}

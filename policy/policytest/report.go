package policytest

import (
	"fmt"
	"io"
	"math"
	"strings"

	"scopeward/internal/strictyaml"
)

// Format is how a report is written.
type Format string

const (
	Text  Format = "text"
	JSON  Format = "json"
	JUnit Format = "junit"
)

// Options say what is asked of the tests, and what is shown.
type Options struct {
	Verbose      bool    // also the tests that passed
	RequireTests bool    // a file without a test is a fault
	Coverage     bool    // show what no test touched
	FailUnder    float64 // least percentage of branches; 0: any
}

// Faults says what is wrong besides the tests that failed, in words.
func (r Report) Faults(o Options) []string {
	var faults []string
	if o.RequireTests {
		for _, file := range r.Untested {
			faults = append(faults, file+": the file has no tests")
		}
	}
	if r.Coverage.Percent() < o.FailUnder {
		faults = append(faults, fmt.Sprintf("coverage is %s, less than %v%%", percent(r.Coverage), o.FailUnder))
	}
	return faults
}

// OK reports whether all tests passed and nothing else is wrong.
func (r Report) OK(o Options) bool { return len(r.Failed()) == 0 && len(r.Faults(o)) == 0 }

// Write writes a report.
func (r Report) Write(w io.Writer, f Format, o Options) error {
	switch f {
	case JSON:
		return r.writeJSON(w, o)
	case JUnit:
		return r.writeJUnit(w, o)
	default:
		_, err := io.WriteString(w, r.text(o))
		return err
	}
}

// WriteProblems writes, in place of a report, why the policies cannot be read. In
// a Text report they are the caller's to show.
func WriteProblems(w io.Writer, f Format, problems strictyaml.Problems) error {
	switch f {
	case JSON:
		return writeJSONProblems(w, problems)
	case JUnit:
		return writeJUnitProblems(w, problems)
	default:
		return nil
	}
}

func (r Report) text(o Options) string {
	var b strings.Builder
	for _, result := range r.Results {
		switch {
		case !result.Passed():
			fmt.Fprintf(&b, "%s: %s: %s\n", result.Test.Pos, Describe(result.Test), result.Fault)
		case o.Verbose:
			fmt.Fprintf(&b, "%s: %s: ok, %s%s\n", result.Test.Pos, Describe(result.Test), result.Actual, result.byRule())
		}
	}
	if o.Coverage {
		r.Coverage.write(&b)
	}
	for _, fault := range r.Faults(o) {
		b.WriteString(fault + "\n")
	}
	switch failed := len(r.Failed()); {
	case failed > 0:
		fmt.Fprintf(&b, "%d of %s failed.\n", failed, count(len(r.Results), "test"))
	case len(r.Results) == 0:
		fmt.Fprintf(&b, "There are no tests in %s.\n", count(len(r.Files), "file"))
	default:
		fmt.Fprintf(&b, "%s passed.\n", count(len(r.Results), "test"))
	}
	return b.String()
}

func (c Coverage) write(b *strings.Builder) {
	for _, rule := range c.Rules {
		missing := rule.Missing()
		switch {
		case rule.Untouched():
			fmt.Fprintf(b, "%s: %s: no test touches this rule\n", rule.Rule.Pos, rule.Name())
		case len(missing) > 0:
			fmt.Fprintf(b, "%s: %s: no test has it %s\n", rule.Rule.Pos, rule.Name(), strings.Join(missing, " or "))
		case rule.Hint() != "":
			fmt.Fprintf(b, "%s: %s: %s\n", rule.Rule.Pos, rule.Name(), rule.Hint())
		}
	}
	all, taken := c.Branches()
	fmt.Fprintf(b, "Coverage: %s, %d of %s (allowed, denied) of %s; tests touch %d of the rules.\n",
		percent(c), taken, count(all, "branch"), count(len(c.Rules), "rule"), c.Touched())
}

// percent rounds down: 100% means all.
func percent(c Coverage) string {
	return fmt.Sprintf("%.1f%%", math.Floor(c.Percent()*10)/10)
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "ch"):
		return fmt.Sprintf("%d %ses", n, what)
	default:
		return fmt.Sprintf("%d %ss", n, what)
	}
}

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"scopeward/internal/strictyaml"
	"scopeward/policy/lint"
)

func newPolicyLint() *cobra.Command {
	var files []string
	var output string
	var list bool
	cmd := &cobra.Command{
		Use:   "lint [FILE|DIR]...",
		Short: "Find what is likely not meant in policies that load",
		Long: `lint reads policy files as serve does, a directory stands for its *.yaml and *.yml files, and
without an argument the current directory is read. It finds what is valid but likely not
meant: public rules beside protected ones, conditions that always or never hold, writing with a
scope to read, and more; --list tells all checks. Each finding says where, what is wrong, and
what to do.

A comment silences a finding, at the end of its line or of its rule's first line, or on a line
of its own straight before either. It needs a reason, and one that silences nothing is a finding:

    # lint:ignore single-any-scope write:users follows with the next release

With --output json: {ok, findings: [{file, line, column, check, reason, advice}],
problems: [{file, line, column, message}]}; problems are mistakes that keep the files from
loading. With --list: [{name, doc}].

The exit status is 0 without findings, 1 with findings or mistakes, 2 for wrong usage.`,
		Example: `  scopeward policy lint policy.yaml
  scopeward policy lint policies/ --output json
  scopeward policy lint --list`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			switch {
			case list && len(args)+len(files) > 0:
				return &usageError{errors.New("--list takes no files")}
			case list:
				return listChecks(cmd.OutOrStdout(), lintChecks(), output)
			}
			findings, err := lint.Load(givenPolicies(args, files)...)
			var problems strictyaml.Problems
			if err != nil && !(output == "json" && errors.As(err, &problems)) {
				return err
			}
			return printLint(cmd, findings, problems, output)
		},
	}
	policyFlag(cmd, &files, "a policy `file` or directory, as an argument is (repeatable)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().BoolVar(&list, "list", false, "tell all checks")
	return cmd
}

func printLint(cmd *cobra.Command, findings []lint.Finding, problems strictyaml.Problems, output string) error {
	if output == "json" {
		if err := printLintJSON(cmd.OutOrStdout(), findings, problems); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			if _, err := fmt.Fprintln(forPeople(cmd.OutOrStdout()), f); err != nil {
				return err
			}
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s.\n", count(len(findings), "finding"))
	}
	if len(findings)+len(problems) > 0 {
		return errReported
	}
	return nil
}

func printLintJSON(w io.Writer, findings []lint.Finding, problems strictyaml.Problems) error {
	type place struct {
		File   string `json:"file"`
		Line   int    `json:"line,omitempty"`
		Column int    `json:"column,omitempty"`
	}
	type finding struct {
		place
		Check  string `json:"check"`
		Reason string `json:"reason"`
		Advice string `json:"advice"`
	}
	type problem struct {
		place
		Message string `json:"message"`
	}
	report := struct {
		OK       bool      `json:"ok"`
		Findings []finding `json:"findings"`
		Problems []problem `json:"problems"`
	}{len(findings)+len(problems) == 0, []finding{}, []problem{}}
	for _, f := range findings {
		report.Findings = append(report.Findings, finding{place{f.File, f.Line, f.Column}, f.Check, f.Reason, f.Advice})
	}
	for _, p := range problems {
		report.Problems = append(report.Problems, problem{place{p.File, p.Line, p.Column}, p.Message})
	}
	return printJSON(w, report)
}

// checkDoc documents a check of lint or doctor.
type checkDoc struct {
	Name     string `json:"name"`
	Severity string `json:"severity,omitempty"`
	Doc      string `json:"doc"`
}

func lintChecks() []checkDoc {
	var docs []checkDoc
	for _, c := range lint.Documentation() {
		docs = append(docs, checkDoc{Name: c.Name, Doc: c.Doc})
	}
	return docs
}

// listChecks is the manual of checks.
func listChecks(w io.Writer, checks []checkDoc, output string) error {
	if output == "json" {
		return printJSON(w, checks)
	}
	var text strings.Builder
	for _, c := range checks {
		text.WriteString(c.Name)
		if c.Severity != "" {
			fmt.Fprintf(&text, " (%s)", c.Severity)
		}
		fmt.Fprintf(&text, "\n    %s\n", c.Doc)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

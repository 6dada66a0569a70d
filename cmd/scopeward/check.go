package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"scopeward/internal/config"
	"scopeward/internal/providers"
	"scopeward/internal/strictyaml"
	"scopeward/policy"
)

func newCheck() *cobra.Command {
	var o config.Options
	var output string
	var online bool
	cmd := &cobra.Command{
		Use:   "check [FILE|DIR]...",
		Short: "Validate the configuration and the policy",
		Long: `check reads the configuration and the policy as serve does and prints every mistake as
file:line:column: message. Without --config it checks policy files alone. A FILE or directory is a
policy, as one given by --policy.

--online also asks the identity providers for their metadata and keys, as serve does, and says what
it found and where it fell back to a default. It sends no token and no secret.`,
		Example: `  scopeward check --config scopeward.yaml
  scopeward check --config scopeward.yaml --online
  scopeward check policy.yaml
  scopeward check --policy policy.yaml --output json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Policy = slices.Concat(args, o.Policy)
			if output != "text" && output != "json" {
				return &usageError{fmt.Errorf("--output is %q; it must be text or json", output)}
			}
			if o.File == "" && len(o.Policy) == 0 {
				return &usageError{errors.New("there is nothing to check: give --config scopeward.yaml or --policy policy.yaml")}
			}
			if online && o.File == "" {
				return &usageError{errors.New("--online asks the providers of a configuration: give --config scopeward.yaml")}
			}
			report, err := check(o)
			if err != nil {
				return err
			}
			if online && report.config != nil {
				report.online = providers.Probe(cmd.Context(), report.config)
			}
			return report.print(cmd.OutOrStdout(), cmd.ErrOrStderr(), output)
		},
	}
	configFlags(cmd, &o)
	cmd.Flags().BoolVar(&online, "online", false, "ask the providers for their metadata and keys, too")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// report is what check found.
type report struct {
	rules    []*policy.Rule
	warnings strictyaml.Problems // what is allowed and should not be forgotten
	doubts   strictyaml.Problems // what is allowed, and hardly what was meant
	problems strictyaml.Problems
	config   *config.Config      // nil without one, or with problems
	online   []providers.Finding // what the providers answered; nil if they were not asked
}

// check loads everything that serve loads, and starts nothing.
func check(o config.Options) (report, error) {
	var (
		f   config.Files
		err error
	)
	if o.File == "" {
		f.Policy, err = policy.Load(o.Policy...)
	} else {
		f, err = config.Load(o)
	}
	var problems strictyaml.Problems
	switch {
	case errors.As(err, &problems):
		return report{problems: problems}, nil
	case err != nil:
		return report{}, err
	case f.Config != nil:
		return report{rules: f.Policy.Rules(), warnings: f.Config.Warnings(), doubts: f.Config.Doubts, config: f.Config}, nil
	default:
		return report{rules: f.Policy.Rules()}, nil
	}
}

func (r report) print(stdout, stderr io.Writer, output string) error {
	switch {
	case output == "json":
		if err := r.printJSON(stdout); err != nil {
			return err
		}
	case len(r.problems) > 0:
		printProblems(stderr, r.problems)
	default:
		r.printGood(forPeople(stdout))
	}
	if len(r.problems) > 0 || slices.ContainsFunc(r.online, func(f providers.Finding) bool { return !f.OK }) {
		return errReported
	}
	return nil
}

// printGood says that all is well, and loudly what nevertheless is not enforced.
func (r report) printGood(w io.Writer) {
	fmt.Fprintf(w, "All is well: %s.\n", count(len(r.rules), "rule"))
	for _, rule := range r.rules {
		if rule.Audit {
			fmt.Fprintf(w, "%s: NOT ENFORCED: the rule has mode: audit, so that what it would deny passes\n", rule.Pos)
		}
	}
	for _, warning := range r.warnings {
		fmt.Fprintf(w, "%s: NOT PROTECTED: %s\n", warning.Pos, warning.Message)
	}
	for _, doubt := range r.doubts {
		fmt.Fprintf(w, "%s: WARNING: %s\n", doubt.Pos, doubt.Message)
	}
	for _, f := range r.online {
		verdict := "ok"
		if !f.OK {
			verdict = "FAILED"
		}
		fmt.Fprintf(w, "provider %s: %s: %s: %s\n", f.Provider, f.Endpoint, verdict, strings.TrimPrefix(f.URL+", "+f.Text, ", "))
	}
}

func (r report) printJSON(w io.Writer) error {
	type problem struct {
		File    string `json:"file"`
		Line    int    `json:"line,omitempty"`
		Column  int    `json:"column,omitempty"`
		Message string `json:"message"`
	}
	problems := []problem{}
	for _, p := range r.problems {
		problems = append(problems, problem{p.File, p.Line, p.Column, p.Message})
	}
	return printJSON(w, struct {
		OK       bool                `json:"ok"`
		Rules    int                 `json:"rules"`
		Problems []problem           `json:"problems"`
		Online   []providers.Finding `json:"online,omitempty"`
	}{len(problems) == 0, len(r.rules), problems, r.online})
}

// printProblems is how every command shows mistakes in files.
func printProblems(w io.Writer, problems strictyaml.Problems) {
	w = forPeople(w)
	fmt.Fprintln(w, problems.Error())
	fmt.Fprintf(w, "%s found.\n", count(len(problems), "mistake"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"scopeward/policy"
	"scopeward/policy/strictyaml"
)

func newCheck() *cobra.Command {
	var o options
	var output string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration and the policy",
		Long: `check reads the configuration and the policy as serve does and prints every mistake as
file:line:column: message. With --policy alone it checks policy files without a configuration.`,
		Example: `  scopeward check --config scopeward.yaml
  scopeward check --policy policy.yaml --output json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return &usageError{fmt.Errorf("--output is %q; it must be text or json", output)}
			}
			if o.config == "" && len(o.policy) == 0 {
				return &usageError{errors.New("there is nothing to check: give --config scopeward.yaml or --policy policy.yaml")}
			}
			report, err := check(o)
			if err != nil {
				return err
			}
			return report.print(cmd.OutOrStdout(), cmd.ErrOrStderr(), output)
		},
	}
	configFlags(cmd, &o)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// report is what check found.
type report struct {
	OK       bool      `json:"ok"`
	Rules    int       `json:"rules"`
	Problems []problem `json:"problems"`
}

type problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

// check loads everything that serve loads, and starts nothing.
func check(o options) (report, error) {
	var (
		set *policy.Set
		err error
	)
	if o.config == "" {
		set, err = policy.Load(o.policy...)
	} else {
		var c *Config
		if c, set, err = load(o); err == nil {
			_, err = newProviders(c, environment{})
		}
	}
	r := report{OK: err == nil, Problems: []problem{}}
	if err == nil {
		r.Rules = len(set.Rules())
		return r, nil
	}
	var problems strictyaml.Problems
	if !errors.As(err, &problems) {
		return r, err
	}
	for _, p := range problems {
		r.Problems = append(r.Problems, problem{p.File, p.Line, p.Column, p.Message})
	}
	return r, nil
}

func (r report) print(stdout, stderr io.Writer, output string) error {
	if output == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else {
		r.printText(stdout, stderr)
	}
	if !r.OK {
		return errReported
	}
	return nil
}

func (r report) printText(stdout, stderr io.Writer) {
	if r.OK {
		fmt.Fprintf(stdout, "All is well: %s.\n", count(r.Rules, "rule"))
		return
	}
	for _, p := range r.Problems {
		pos := strictyaml.Pos{File: p.File, Line: p.Line, Column: p.Column}
		fmt.Fprintln(stderr, strictyaml.Problem{Pos: pos, Message: p.Message}.Error())
	}
	fmt.Fprintf(stderr, "%s found.\n", count(len(r.Problems), "mistake"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

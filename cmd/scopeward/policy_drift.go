package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"scopeward/policy"
	"scopeward/policy/openapi"
)

func newPolicyDrift() *cobra.Command {
	var options openapi.Options
	var files []string
	var name, output string
	cmd := &cobra.Command{
		Use:   "drift OPENAPI --policy FILE",
		Short: "Compare a policy with an OpenAPI document",
		Long: `drift tells where a policy and an OpenAPI document (3.0 to 3.2, YAML or JSON; - reads
standard input) have drifted apart:

  route_without_rule   an operation of the document that no rule is for: it is denied
  rule_without_route   a pattern that is for nothing in the document, unless its rule denies
  weaker_rule          a rule that lets pass what the document's security does not, or may do
                       so: what can't be compared, such as API keys, counts as weaker

A rule that asks for more than the document is no drift. Operations without any security key,
of the document too, ask for nothing here.

With --output json: {ok, findings: [{kind, file, line, column, message, request, operation,
route: {file, line, column}}]}.

The exit status is 0 if there is no drift, 1 if there is or a file can't be read, 2 for wrong
usage.`,
		Example: `  scopeward policy drift openapi.yaml --policy policy.yaml
  scopeward policy drift --any-host openapi.json --policy policies/ --output json`,
		Args: oneArgument("an OpenAPI document"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if len(files) == 0 {
				return &usageError{errNoPolicy}
			}
			set, err := policy.Load(files...)
			if err != nil {
				return err
			}
			document, err := readOpenAPI(args[0], cmd.InOrStdin(), options)
			if err != nil {
				return err
			}
			findings, err := document.Drift(set, name)
			if err != nil {
				return err
			}
			if err := printFindings(cmd.OutOrStdout(), findings, output, len(document.Operations)); err != nil {
				return err
			}
			if len(findings) > 0 {
				return errReported
			}
			return nil
		},
	}
	openAPIFlags(cmd, &options)
	policyFlag(cmd, &files, "a policy `file` or directory (repeatable)")
	cmd.Flags().StringVar(&name, "name", "", "the `name` of the policy to compare, instead of the default one")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

type driftFinding struct {
	Kind      string         `json:"kind"`
	File      string         `json:"file"`
	Line      int            `json:"line"`
	Column    int            `json:"column"`
	Message   string         `json:"message"`
	Request   string         `json:"request,omitempty"`
	Operation string         `json:"operation,omitempty"`
	Route     *routePosition `json:"route,omitempty"`
}

type routePosition struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

func printFindings(w io.Writer, findings []openapi.Finding, output string, operations int) error {
	if output == "json" {
		out := []driftFinding{}
		for _, f := range findings {
			d := driftFinding{Kind: f.Kind, File: f.Pos.File, Line: f.Pos.Line, Column: f.Pos.Column, Message: f.Message, Request: f.Request, Operation: f.Operation}
			if f.Route.Line != 0 {
				d.Route = &routePosition{f.Route.File, f.Route.Line, f.Route.Column}
			}
			out = append(out, d)
		}
		return printJSON(w, struct {
			OK       bool           `json:"ok"`
			Findings []driftFinding `json:"findings"`
		}{len(out) == 0, out})
	}
	w = forPeople(w)
	for _, f := range findings {
		fmt.Fprintf(w, "%s: %s: %s\n", f.Pos, f.Kind, f.Message)
		if f.Request != "" {
			fmt.Fprintf(w, "    for example %s\n", f.Request)
		}
	}
	if len(findings) == 0 {
		_, err := fmt.Fprintf(w, "No drift: %s.\n", count(operations, "operation"))
		return err
	}
	_, err := fmt.Fprintf(w, "%s.\n", count(len(findings), "difference"))
	return err
}

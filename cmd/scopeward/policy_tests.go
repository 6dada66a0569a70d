package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"scopeward/internal/inspect"
	"scopeward/internal/strictyaml"
	"scopeward/policy/explain"
	"scopeward/policy/policytest"
)

func newPolicyTest() *cobra.Command {
	var options policytest.Options
	var files []string
	var output, configuration string
	cmd := &cobra.Command{
		Use:   "test [FILE|DIR]...",
		Short: "Run the tests that are written in policy files",
		Long: `test runs the tests: of policy files, decided as the server decides. All files together
are one set of policies, as they are for serve; a directory stands for its *.yaml and *.yml
files, and without an argument the current directory is read.

  tests:
    - request: GET /users/42      # a path, or a URL where a rule asks for the host
      scopes: [read:users]        # scopes or claims: a valid token
      claims: {sub: "42"}
      logged_in: 4m               # how long ago its user has signed in: the claim auth_time
      headers: {x-tenant: acme}
      expect: allow               # or missing_token, invalid_token, insufficient_scope,
                                  # insufficient_user_authentication, access_denied, invalid_path
      rule: GET /users/{id}       # optional: the name or a pattern of the rule that matches
    - {request: GET /users, expect: missing_token}       # neither: no token
    - {request: GET /users, token: expired, expect: invalid_token}      # none, invalid, expired
    - request: GET /users
      headers: {accept: text/html}
      expect: missing_token
      expect_status: 302          # optional, of a denial, by the answers of --config
      expect_body: <title>        # optional: what its body contains

The tests of a file with a name: ask that policy, all others the default one. What a rule with
mode: audit would deny is allowed, as the server has it.

--coverage tells which rules no test touched, and which of their branches (allowed, denied).
--fail-under counts the branches.

With --output json: {ok, passed, failed, tests: [{file, line, column, policy, request, token,
scopes, expected, actual, expected_rule, rule, passed, reason, fault}], untested, faults,
coverage: {percent, branches, taken, rules: [{file, line, column, rule, touched, missing,
hint}]}, problems: [{file, line, column, message}]}.

The exit status is 0 if all tests passed, 1 if one failed, a file can't be read, or
--require-tests or --fail-under is not met, 2 for wrong usage.`,
		Example: `  scopeward policy test policy.yaml
  scopeward policy test policies/ --coverage --fail-under 90 --require-tests
  scopeward policy test policy.yaml --output junit > report.xml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			format := policytest.Format(output)
			switch {
			case !slices.Contains([]policytest.Format{policytest.Text, policytest.JSON, policytest.JUnit}, format):
				return &usageError{fmt.Errorf("--output is %q; it must be text, json or junit", output)}
			case !(options.FailUnder >= 0 && options.FailUnder <= 100): // nor NaN
				return &usageError{fmt.Errorf("--fail-under is %v; it must be a percentage from 0 to 100", options.FailUnder)}
			}
			paths := slices.Concat(args, files)
			if configuration == "" {
				paths = givenPolicies(args, files)
			}
			return runPolicyTests(cmd, configuration, paths, format, options)
		},
	}
	policyFlag(cmd, &files, "a policy `file` or directory, as an argument is (repeatable)")
	cmd.Flags().StringVarP(&configuration, "config", "c", "", "the configuration `file`, for its answers; without arguments, for its policies, too")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or junit")
	cmd.Flags().BoolVarP(&options.Verbose, "verbose", "v", false, "show the tests that pass, too")
	cmd.Flags().BoolVar(&options.RequireTests, "require-tests", false, "fail if a file has no tests")
	cmd.Flags().BoolVar(&options.Coverage, "coverage", false, "show the rules and branches that no test touched")
	cmd.Flags().Float64Var(&options.FailUnder, "fail-under", 0, "fail if tests take less than this `percentage` of the branches")
	return cmd
}

func runPolicyTests(cmd *cobra.Command, configuration string, paths []string, format policytest.Format, options policytest.Options) error {
	set, c, err := rulesOf(configuration, paths)
	var problems strictyaml.Problems
	switch {
	case errors.As(err, &problems) && format != policytest.Text:
		if err := policytest.WriteProblems(cmd.OutOrStdout(), format, problems); err != nil {
			return err
		}
		return errReported
	case err != nil:
		return err
	}
	report := policytest.Run(set, func(q explain.Question, out explain.Outcome) *explain.Response { return inspect.Response(q, out, c) })
	out := cmd.OutOrStdout()
	if format == policytest.Text {
		out = forPeople(out)
	}
	if err := report.Write(out, format, options); err != nil {
		return err
	}
	if !report.OK(options) {
		return errReported
	}
	return nil
}

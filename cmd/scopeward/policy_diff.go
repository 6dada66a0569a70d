package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
	"scopeward/policy/diff"
)

func newPolicyDiff() *cobra.Command {
	var files []string
	var output string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW|--policy NEW",
		Short: "Say what a change of the policy opens and closes, and for whom",
		Long: `diff compares two policies, each a file or a folder, by what they let in, not by their text:
order, comments, names and equal ways to write a rule are no change. Nothing that opens is missed,
and what is said to open is shown by an example that both policies were asked about. Where two
conditions can neither be proved to let in the same nor be shown to differ, they may differ, which
counts as opening; so does what the old condition denies only because it costs more than CEL may.

The default policy is compared, and each policy with a "name:" by its name. Where OLD and NEW are both
folders, requests may name files too, so that their names count.

The exit status is 1 if anything opens or may, 0 if not, and 2 for wrong usage.

--output json gives: opens (bool), old_version, new_version, summary (a count for each kind), incomplete
(policies that overlap too much to be compared), and changes, each with: kind (opens, changes, may_differ,
closes), opens (bool), policy (a name; none: the default), requests (patterns), example, example_with
(what the token and the request need besides, in words), encoded_slash and escaped_unreserved (bool), old
and new (the rule: name, file, line, column, needs; null: no rule), opens_for, closes_for and may_close_for
(who, in words).`,
		Example: `  scopeward policy diff old/policy.yaml policy.yaml
  git show main:policy.yaml > /tmp/main.yaml && scopeward policy diff /tmp/main.yaml policy.yaml --output markdown`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(files) > 0 && len(args) != 1:
				return &usageError{fmt.Errorf("policy diff takes one policy beside --policy, OLD, not %d", len(args))}
			case len(files) == 0 && len(args) != 2:
				return &usageError{fmt.Errorf("policy diff takes two policies, OLD and NEW, not %d", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{"text", "json", "markdown"}, output) {
				return &usageError{fmt.Errorf("--output is %q; it must be text, json or markdown", output)}
			}
			report, err := diffPolicies(args[0], slices.Concat(args[1:], files))
			if err != nil {
				return err
			}
			print := map[string]func() error{
				"text":     func() error { return report.Text(forPeople(cmd.OutOrStdout())) },
				"json":     func() error { return report.JSON(cmd.OutOrStdout()) },
				"markdown": func() error { return report.Markdown(cmd.OutOrStdout()) },
			}[output]
			if err := print(); err != nil {
				return err
			}
			if report.Opens() {
				return errReported
			}
			return nil
		},
	}
	policyFlag(cmd, &files, "a `file` or directory of the new policy, instead of NEW (repeatable)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or markdown")
	return cmd
}

// diffPolicies loads both policies and compares them. Its error has the mistakes
// of both.
func diffPolicies(oldPath string, newPaths []string) (*diff.Report, error) {
	old, oldErr := policy.Load(oldPath)
	new, newErr := policy.Load(newPaths...)
	if oldErr != nil || newErr != nil {
		var all, some strictyaml.Problems
		for _, err := range []error{oldErr, newErr} {
			switch {
			case errors.As(err, &some):
				all = append(all, some...)
			case err != nil:
				return nil, err
			}
		}
		slices.SortStableFunc(all, func(a, b strictyaml.Problem) int { return strings.Compare(a.File, b.File) })
		return nil, slices.Compact(all)
	}
	return diff.Compare(old, new, diff.Options{FileNames: isFolder(oldPath) && !slices.ContainsFunc(newPaths, isFile)}), nil
}

func isFile(path string) bool { return !isFolder(path) }

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

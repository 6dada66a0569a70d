package main

import (
	"slices"

	"github.com/spf13/cobra"
)

// newPolicy is the parent of the commands that work on policy files. Each
// decides by the same code as the server.
func newPolicy() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "policy",
		Short:   "Test, explain and compare policies",
		Example: `  scopeward policy --help`,
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyLint(), newPolicyTest(), newPolicyExplain(), newPolicyDiff(), newPolicyImport(), newPolicyDrift(), newPolicyReplay())
	return cmd
}

// givenPolicies are the policies of the arguments and of --policy; without any, those of the
// current directory.
func givenPolicies(args, files []string) []string {
	if given := slices.Concat(args, files); len(given) > 0 {
		return given
	}
	return []string{"."}
}

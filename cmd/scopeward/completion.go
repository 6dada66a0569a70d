package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// completable has a shell complete the values of flags, and arguments, of a command and
// those below: files where files are meant, and else nothing rather than files.
func completable(cmd *cobra.Command) {
	if !strings.Contains(cmd.Use, " ") { // it takes no arguments
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		switch {
		case f.Name == "output": // text, json or markdown
			values := strings.Split(strings.ReplaceAll(usage, " or ", ", "), ", ")
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
		case value != "file" && value != "":
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions)
		}
	})
	for _, below := range cmd.Commands() {
		completable(below)
	}
}

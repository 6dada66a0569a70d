//go:build man

package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// tools are commands for who packages the program: what they need is not in it otherwise.
func tools() []*cobra.Command {
	return []*cobra.Command{{
		Use:     "man DIR",
		Short:   "Write manual pages, one for each command, into DIR/man1",
		Example: "  go run -tags man ./cmd/scopeward man bin/man && man -M bin/man scopeward",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := filepath.Join(args[0], "man1")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			root.RemoveCommand(cmd)
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "Scopeward " + version(), Manual: "Scopeward"}, dir)
		},
	}}
}

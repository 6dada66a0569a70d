//go:build !man

package main

import "github.com/spf13/cobra"

// tools are commands for who packages the program; see man.go.
func tools() []*cobra.Command { return nil }

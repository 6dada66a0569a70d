package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"scopeward/authz/audit"
)

func newAudit() *cobra.Command {
	return &cobra.Command{
		Use:   "audit [FILE]...",
		Short: "Show audit events to a person",
		Long: `audit shows audit events, which are JSON, as a line for each that a person can read: when, what
became of the request, the request, and why. It reads the files, or standard input as it comes. Colours
are for terminals, unless $NO_COLOR is set. Lines that are no events are shown as they are; if all are, the
exit status is 2. A running service shows them by serve --pretty.`,
		Example: `  scopeward audit /var/log/scopeward/audit.log
  kubectl logs --follow deploy/scopeward | scopeward audit`,
		RunE: func(cmd *cobra.Command, files []string) error {
			view := audit.View{Colour: coloured(cmd.OutOrStdout())}
			if len(files) == 0 {
				return noEvents(view.Show(cmd.OutOrStdout(), cmd.InOrStdin()))
			}
			for _, name := range files {
				if err := showFile(view, name, cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func showFile(view audit.View, name string, out io.Writer) error {
	file, err := os.Open(name)
	if err != nil {
		if path, ok := errors.AsType[*fs.PathError](err); ok {
			err = path.Err
		}
		return fmt.Errorf("%s can't be read: %w", name, err)
	}
	defer file.Close()
	if err := view.Show(out, file); err != nil {
		return noEvents(fmt.Errorf("%s: %w", name, err))
	}
	return nil
}

// noEvents makes wrong usage of an input that was another log.
func noEvents(err error) error {
	if errors.Is(err, audit.ErrNoEvents) {
		return &usageError{err}
	}
	return err
}

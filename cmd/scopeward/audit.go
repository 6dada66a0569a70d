package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"scopeward/authz"
	"scopeward/authz/audit"
	"scopeward/internal/config"
)

// auditing is where audit events go. Its zero value is nowhere.
type auditing struct {
	lines *authz.LineWriter
	file  *auditFile        // nil: to no file
	view  *authz.LineWriter // for a person, beside the file; nil without one
}

// openAudit opens what audit.to names; with pretty, decisions are shown on stdout as well,
// or instead of the events there.
func openAudit(c *config.Config, pretty bool, stdout io.Writer, log *slog.Logger) (auditing, error) {
	var a auditing
	if pretty {
		stdout = audit.View{Colour: coloured(stdout)}.Writer(stdout)
	}
	to := stdout
	if path := c.Audit.File; path != "" {
		file, err := openAuditFile(path, log)
		if err != nil {
			return a, c.At("audit.to", err)
		}
		a.file, to = file, file
		if pretty {
			a.view = authz.NewLineWriter(stdout, nil)
			to = beside{file, a.view}
		}
	} else if c.Audit.To == "off" && !pretty {
		return a, nil
	}
	a.lines = authz.NewLineWriter(to, func(err error) { log.Error("audit events can't be written", slog.Any("error", err)) })
	return a, nil
}

// close writes what is pending, unless that takes too long.
func (a auditing) close() {
	for _, lines := range []*authz.LineWriter{a.lines, a.view} {
		if lines != nil {
			lines.Close(time.Second)
		}
	}
}

// beside writes to the first, and has the second see it, which never fails nor blocks.
type beside struct {
	io.Writer
	view *authz.LineWriter
}

func (b beside) Write(lines []byte) (int, error) {
	_, _ = b.view.Write(lines)
	return b.Writer.Write(lines)
}

func newAudit() *cobra.Command {
	return &cobra.Command{
		Use:   "audit [FILE]...",
		Short: "Show audit events to a person",
		Long: `audit shows audit events, which are JSON, as a line for each that a person can read: when, what
became of the request, the request, and why. It reads the files, or standard input as it comes. Colours
are for terminals, unless $NO_COLOR is set. A running service shows them by serve --pretty.`,
		Example: `  scopeward audit /var/log/scopeward/audit.log
  kubectl logs --follow deploy/scopeward | scopeward audit`,
		RunE: func(cmd *cobra.Command, files []string) error {
			view := audit.View{Colour: coloured(cmd.OutOrStdout())}
			if len(files) == 0 {
				return view.Show(cmd.OutOrStdout(), cmd.InOrStdin())
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
		return fmt.Errorf("%s can't be read: %w", name, cause(err))
	}
	defer file.Close()
	if err := view.Show(out, file); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

package serve

import (
	"io"
	"log/slog"
	"time"

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

// openAudit opens what audit.to names; with a view, decisions are shown on stdout as well,
// or instead of the events there.
func openAudit(c *config.Config, view *audit.View, stdout io.Writer, log *slog.Logger) (auditing, error) {
	var a auditing
	if view != nil {
		stdout = view.Writer(stdout)
	}
	to := stdout
	if path := c.Audit.File; path != "" {
		file, err := openAuditFile(path, log)
		if err != nil {
			return a, c.At("audit.to", err)
		}
		a.file, to = file, file
		if view != nil {
			a.view = authz.NewLineWriter(stdout, nil)
			to = beside{file, a.view}
		}
	} else if c.Audit.To == "off" && view == nil {
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

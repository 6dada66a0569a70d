package serve

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"scopeward/authz/audit"
	"scopeward/internal/config"
)

// TestAuditDestinations: events go to standard output, to a file or nowhere, and with
// pretty a person sees them on standard output in any case.
func TestAuditDestinations(t *testing.T) {
	const event = `{"code":"allow","success":true,"path":"/x"}` + "\n"
	for _, c := range []struct {
		to           string
		pretty       bool
		stdout, file bool // whether the event is there, as JSON
		shown        bool
	}{
		{to: "stdout", stdout: true},
		{to: "file:audit.log", file: true},
		{to: "off"},
		{to: "stdout", pretty: true, shown: true},
		{to: "file:audit.log", pretty: true, shown: true, file: true},
		{to: "off", pretty: true, shown: true},
	} {
		dir := t.TempDir()
		settings := config.Default()
		settings.Audit.To = c.to
		if c.file {
			settings.Audit.File = filepath.Join(dir, "audit.log")
		}
		var stdout bytes.Buffer
		var view *audit.View
		if c.pretty {
			view = &audit.View{}
		}
		a, err := openAudit(settings, view, &stdout, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if a.lines != nil {
			if _, err := a.lines.Write([]byte(event)); err != nil {
				t.Fatal(err)
			}
		}
		a.close()
		inFile := false
		if a.file != nil {
			inFile = string(readFile(t, filepath.Join(dir, "audit.log"))) == event
		}
		shown := strings.Contains(stdout.String(), "  ALLOWED  ")
		if (stdout.String() == event) != c.stdout || inFile != c.file || shown != c.shown || stdout.Len() > 0 && !c.stdout && !c.shown {
			t.Errorf("%s, pretty %v: in the file %v, on standard output %q", c.to, c.pretty, inFile, &stdout)
		}
	}
}

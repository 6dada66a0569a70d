package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"scopeward/authz/audit"
	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// rotated asks all the time for paths that differ, whose events go to a file beside the
// policy, until ask is ended.
type rotated struct {
	*scopeward
	dir, log string // the folder of both, and the file
	client   authv3.AuthorizationClient
	asked    atomic.Int64
}

func startRotated(t *testing.T) *rotated {
	t.Helper()
	dir := t.TempDir()
	config := corpus.Configure(t, dir, "jwks", tokentest.New(t), map[string]any{
		"audit": map[string]any{"to": "file:policies/audit.log"},
	}, map[string]string{"policy.yaml": usersPolicy})
	r := &rotated{scopeward: serve(t, "--config", config, "--pretty"), dir: filepath.Join(dir, "policies")}
	r.log = filepath.Join(r.dir, "audit.log")
	r.client = authv3.NewAuthorizationClient(dial(t, r.grpc))
	return r
}

// ask asks one request after the other until the function that it gives is called.
func (r *rotated) ask(t *testing.T) (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := r.client.Check(t.Context(), check(fmt.Sprintf("/asked/%d", r.asked.Load()), "")); err != nil {
				if t.Context().Err() == nil {
					t.Error(err)
				}
				return
			}
			r.asked.Add(1)
		}
	}()
	t.Cleanup(func() { <-done })
	return func() { close(stop); <-done }
}

// more waits until more requests were answered.
func (r *rotated) more(t *testing.T) {
	t.Helper()
	before := r.asked.Load()
	eventually(t, "more requests are answered", func() bool { return r.asked.Load() > before+50 })
}

// rotate renames the file, puts what is given in its place, and says so.
func (r *rotated) rotate(t *testing.T, name string, replace func() error, said string) {
	t.Helper()
	if err := os.Rename(r.log, filepath.Join(r.dir, name)); err != nil {
		t.Fatal(err)
	}
	if err := replace(); err != nil {
		t.Fatal(err)
	}
	r.more(t)
	if err := syscall.Kill(r.Pid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, said, func() bool { return strings.Contains(r.stderr.String(), said) })
}

// TestAuditRotation: a log file is renamed and opened again on SIGHUP, under load. Each
// event is in one of the files, none in the old one once the new one is open; where there
// is no new one, they go on into the old. A log beside the policy hides no edit of it. On
// standard output a person sees them too.
func TestAuditRotation(t *testing.T) {
	t.Parallel()
	r := startRotated(t)
	end := r.ask(t)
	r.more(t)

	r.rotate(t, "first", func() error { return nil }, "the audit file was opened again")
	first := read(t, filepath.Join(r.dir, "first"))
	r.more(t)
	replace(t, filepath.Join(r.dir, "policy.yaml"), "GET /users", "GET /people")
	eventually(t, "an edit of the policy is live", func() bool { return strings.Contains(r.stderr.String(), "the files were loaded") })

	r.rotate(t, "second", func() error { return os.Mkdir(r.log, 0o755) }, "the audit file can't be opened again")
	r.more(t)
	end()
	if err := r.Stop(); err != nil {
		t.Error(err)
	}

	if after := read(t, filepath.Join(r.dir, "first")); !bytes.Equal(first, after) {
		t.Errorf("%d bytes went to the old file after the new one was open", len(after)-len(first))
	}
	asked := map[string]int{}
	for line := range bytes.Lines(append(first, read(t, filepath.Join(r.dir, "second"))...)) {
		var e audit.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		asked[e.Path]++
	}
	for i := range r.asked.Load() {
		if n := asked[fmt.Sprintf("/asked/%d", i)]; n != 1 {
			t.Errorf("request %d of %d has %d events", i, r.asked.Load(), n)
		}
	}
	if shown := r.stdout.String(); !strings.Contains(shown, "DENIED  access_denied  GET api.example.com/asked/0  ") || strings.Contains(shown, "\x1b") {
		t.Errorf("shown was %.300q", shown)
	}
	info, err := os.Stat(filepath.Join(r.dir, "first"))
	if err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("others may read it: %v, %v", info, err)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestAuditSample: the share of allows that is recorded changes without a restart; where
// events go needs one.
func TestAuditSample(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := corpus.Configure(t, dir, "jwks", tokentest.New(t), map[string]any{
		"audit": map[string]any{"to": "stdout", "sample": 1},
	}, map[string]string{"policy.yaml": "version: 1\nrules:\n  - {match: /public, public: true}\n"})
	s := &system{scopeward: serve(t, "--config", config)}
	client := authv3.NewAuthorizationClient(dial(t, s.grpc))
	ask := func() {
		if _, err := client.Check(t.Context(), check("/public", "")); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	eventually(t, "the event is written", func() bool { return strings.Contains(s.stdout.String(), `"code":"allow"`) })
	replace(t, config, "sample: 1", "sample: 0")
	eventually(t, "allows are left out", func() bool { ask(); return s.metric(t, "scopeward_audit_sampled_out_total") > 0 })
	replace(t, config, "to: stdout", "to: off")
	eventually(t, "a restart is needed", func() bool { return strings.Contains(s.page(t, "/readyz"), "audit.to has changed on disk: restart") })
}

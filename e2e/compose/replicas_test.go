//go:build compose

package compose

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// replicas runs two Scopewards behind Envoy: both answer, and when one is told to end, or killed, the other goes on.
func replicas(t *testing.T, p *project) {
	p.must("up", "--wait", "--no-recreate", "--scale", "scopeward=2")
	eventually(t, "both replicas answer", func() bool {
		p.get("PORT", "/public/replicas")
		return len(answering(p)) == 2
	})
	stopped := make(chan error, 1)
	go func() { stopped <- exec.Command("docker", "stop", "--time", "15", ids(p)[0]).Run() }()
	for n := 0; ; n++ {
		if got, _ := p.get("PORT", "/public/stop"); got != http.StatusOK {
			t.Fatalf("request %d while a replica ends: %d", n, got)
		}
		select {
		case err := <-stopped:
			if err != nil || n == 0 {
				t.Fatalf("after %d requests: %v", n, err)
			}
			t.Logf("%d requests while a replica ended, none lost", n)
		default:
			continue
		}
		break
	}
	p.must("up", "--wait", "--no-recreate", "--scale", "scopeward=2")
	eventually(t, "both replicas answer again", func() bool {
		p.get("PORT", "/public/again")
		return len(answering(p)) == 2
	})
	kill(t, p)
}

// kill takes a replica away at once: what Envoy had sent there is lost, and for no longer than Envoy's next look at its health.
func kill(t *testing.T, p *project) {
	if out, err := exec.CommandContext(t.Context(), "docker", "kill", ids(p)[1]).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if got, _ := p.get("PORT", "/public/kill"); got != http.StatusOK && got != http.StatusServiceUnavailable {
			t.Errorf("after the death of a replica: %d", got)
		}
	}
	for range 100 {
		if got, _ := p.get("PORT", "/public/after"); got != http.StatusOK {
			t.Fatalf("5 s after the death of a replica: %d", got)
		}
	}
}

func ids(p *project) []string { return strings.Fields(p.must("ps", "--quiet", "scopeward")) }

// answering are the running replicas that have decided a request in the last two seconds.
func answering(p *project) []string {
	var names []string
	for line := range strings.Lines(p.must("logs", "--since", "2s", "scopeward")) {
		name, event, _ := strings.Cut(line, "|")
		if name = strings.TrimSpace(name); strings.Contains(event, `"action":`) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// prometheus asks Prometheus' HTTP API.
func (p *project) prometheus(path string, data any) {
	p.t.Helper()
	status, body := p.get("PROMETHEUS_PORT", path)
	answer := struct{ Data any }{data}
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK {
		p.t.Fatalf("Prometheus answered %d to %s: %v: %s", status, path, err, body)
	}
}

// dashboard waits for the scrape of each replica, and lets Prometheus evaluate each panel.
func dashboard(t *testing.T, p *project) {
	p.must("up", "--wait", "--no-recreate", "--scale", "scopeward=2")
	eventually(t, "Prometheus scrapes both replicas", func() bool {
		var targets struct{ ActiveTargets []struct{ Health string } }
		p.prometheus("/api/v1/targets", &targets)
		up := slices.DeleteFunc(targets.ActiveTargets, func(target struct{ Health string }) bool { return target.Health != "up" })
		return len(up) == 2
	})
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(p.dir, "envoy/kubernetes/components/dashboard/dashboard.json"))), &board); err != nil {
		t.Fatal(err)
	}
	// Nothing has happened that these tell of: no TLS, no rule in audit mode, no shadow policy, no fault of Redis or of a connection.
	empty := []string{"Certificate ends", "TLS reload", "Refused TLS connections", "Audit mode", "Shadow policy", "Connections closed by an error"}
	filled := strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$instance", ".*")
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			query := "/api/v1/query?query=" + url.QueryEscape(filled.Replace(target.Expr))
			var result struct{ Result []any }
			p.prometheus(query, &result)
			if slices.Contains(empty, panel.Title) || strings.Contains(target.Expr, "skipped") {
				continue
			}
			eventually(t, fmt.Sprintf("the panel %q shows %s", panel.Title, target.Expr), func() bool {
				p.prometheus(query, &result)
				return len(result.Result) > 0
			})
		}
	}
}

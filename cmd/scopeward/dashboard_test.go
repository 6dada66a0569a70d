package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	described = regexp.MustCompile(`fqName: "(\w+)"`)
	mentioned = regexp.MustCompile(`\b(?:scopeward|process|go)_\w+`)
)

// TestDashboard: the dashboard shows every metric of a service with all that it can have, and asks for none that there is not.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../envoy/compose/observe/grafana/dashboards/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	registered := registeredMetrics(t)
	shown := map[string]bool{}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			for _, name := range mentioned.FindAllString(target.Expr, -1) {
				if !slices.Contains(registered, name) {
					name = regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
				}
				if !slices.Contains(registered, name) {
					t.Errorf("the panel %q asks for %s, which is not registered", panel.Title, name)
				}
				shown[name] = true
			}
		}
	}
	for _, name := range registered {
		if strings.HasPrefix(name, "scopeward_") && !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func registeredMetrics(t *testing.T) (names []string) {
	t.Helper()
	s, _, _ := tlsService(t, tlsFolder(t), "{cert: good.crt, key: good.key}")
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		s.registry.Describe(descriptions)
	}()
	for d := range descriptions {
		names = append(names, described.FindStringSubmatch(d.String())[1])
	}
	return names
}

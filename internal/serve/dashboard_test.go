package serve

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
	"go.yaml.in/yaml/v4"
)

const observe = "../../envoy/compose/observe/"

// target is an expression, and where it stands.
type target struct{ where, expr, legend string }

// check holds an expression against the metrics that are registered, and gives those that
// it asks for.
func (e target) check(t *testing.T, registered map[string]metric) (asked []string) {
	t.Helper()
	parsed, err := metricsql.Parse(strings.ReplaceAll(e.expr, "$__rate_interval", "5m"))
	if err != nil {
		t.Errorf("%s: %v", e.where, err)
		return nil
	}
	known := []string{"job", "instance", "namespace", "le"}
	var labels []string
	metricsql.VisitAll(parsed, func(part metricsql.Expr) {
		switch part := part.(type) {
		case *metricsql.MetricExpr:
			for _, filters := range part.LabelFilterss {
				m := e.metric(t, filters[0].Value, registered)
				asked, known = append(asked, m.name), append(known, m.labels...)
				for _, f := range filters[1:] {
					if own := append([]string{"job", "instance"}, m.labels...); !slices.Contains(own, f.Label) {
						t.Errorf("%s: %s has no label %s", e.where, m.name, f.Label)
					}
				}
			}
		case *metricsql.AggrFuncExpr:
			labels = append(labels, part.Modifier.Args...)
		}
	})
	for _, m := range regexp.MustCompile(`\{\{(?: *\$labels\.)?(\w+) *\}\}`).FindAllStringSubmatch(e.legend, -1) {
		labels = append(labels, m[1])
	}
	for _, label := range labels {
		if !slices.Contains(known, label) {
			t.Errorf("%s: no metric in it has a label %s", e.where, label)
		}
	}
	return asked
}

// metric finds what is registered by the name of a series.
func (e target) metric(t *testing.T, series string, registered map[string]metric) metric {
	t.Helper()
	switch {
	case series == "up":
		return metric{name: series} // Prometheus' own
	case strings.HasPrefix(series, "envoy_cluster_ext_authz_"):
		return metric{name: series, labels: []string{"envoy_cluster_name"}} // Envoy's own, which e2e reads
	}
	if m, ok := registered[series]; ok && m.kind() != "histogram" {
		return m
	}
	name := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(series, "")
	m, ok := registered[name]
	if !ok || m.kind() != "histogram" {
		t.Errorf("%s asks for %s, which is not registered", e.where, series)
	}
	return m
}

// TestDashboard: the dashboard shows every metric of a service with all that it can have, and asks for none that there is not.
func TestDashboard(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(readFile(t, "../../envoy/kubernetes/components/dashboard/dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	registered := registeredMetrics(t, fullRegistry(t))
	shown := map[string]bool{}
	for _, panel := range dashboard.Panels {
		for _, e := range panel.Targets {
			for _, m := range regexp.MustCompile(`\b(?:scopeward|process|go)_\w+(\{[^}]*\})?`).FindAllStringSubmatch(e.Expr, -1) {
				if !strings.HasPrefix(m[1], `{job=~"$job", instance=~"$instance"`) {
					t.Errorf("the panel %s does not filter by job and instance: %s", panel.Title, m[0])
				}
			}
			for _, name := range (target{"the panel " + panel.Title, e.Expr, e.LegendFormat}).check(t, registered) {
				shown[name] = true
			}
		}
	}
	for name := range registered {
		if strings.HasPrefix(name, "scopeward_") && !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// alert is a rule of Prometheus.
type alert struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func readAlerts(t *testing.T) (alerts []alert) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alert } }
	if err := yaml.Unmarshal(readFile(t, observe+"alerts.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		alerts = append(alerts, group.Rules...)
	}
	return alerts
}

// TestAlerts: alerts ask only for what a service has, and each says how bad it is and where
// the runbook is, which says what to do.
func TestAlerts(t *testing.T) {
	registered := registeredMetrics(t, fullRegistry(t))
	var explained, named []string
	for _, section := range strings.Split(string(readFile(t, observe+"README.md")), "\n### ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		explained = append(explained, name)
		if !strings.Contains(text, "**Means:** ") || !strings.Contains(text, "\\\n**Do:** ") {
			t.Errorf("the runbook of %s does not say what it means and what to do", name)
		}
	}
	for _, a := range readAlerts(t) {
		named = append(named, a.Alert)
		target{"the alert " + a.Alert, a.Expr, a.Annotations["summary"] + a.Annotations["description"]}.check(t, registered)
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s has the severity %q", a.Alert, a.Labels["severity"])
		}
		if want := "https://docs.example.com/scopeward/runbook#" + strings.ToLower(a.Alert); a.Annotations["runbook_url"] != want {
			t.Errorf("the runbook of %s is %q, want %q", a.Alert, a.Annotations["runbook_url"], want)
		}
	}
	if !slices.Equal(named, explained) || len(named) < 10 {
		t.Errorf("the alerts are %v, the README explains %v", named, explained)
	}
	for _, loaded := range []struct{ file, by string }{{"alerts.yaml", observe + "prometheus.yml"}, {"/etc/prometheus/alerts.yaml:ro", "../../docker-compose.yaml"}} {
		if !strings.Contains(string(readFile(t, loaded.by)), loaded.file) {
			t.Errorf("%s does not load %s", loaded.by, loaded.file)
		}
	}
}

// TestAlertsAreTested: make test-alerts has for each alert a case in which it fires and one in which it does not.
func TestAlertsAreTested(t *testing.T) {
	var file struct {
		Tests []struct {
			Rules []struct {
				Alert  string `yaml:"alertname"`
				Alerts []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(readFile(t, observe+"alerts_test.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	firing, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, r := range test.Rules {
			firing[r.Alert] = firing[r.Alert] || len(r.Alerts) > 0
			quiet[r.Alert] = quiet[r.Alert] || len(r.Alerts) == 0
		}
	}
	for _, a := range readAlerts(t) {
		if !firing[a.Alert] || !quiet[a.Alert] {
			t.Errorf("%s: firing is tested: %v; not firing: %v", a.Alert, firing[a.Alert], quiet[a.Alert])
		}
	}
}

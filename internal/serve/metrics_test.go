package serve

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"scopeward/authz"
)

// metric is what a service says of one of its metrics.
type metric struct {
	name, help string
	labels     []string
}

// kind is by the conventions that promlint holds for counters, and this project for
// histograms: TestMetricsReference holds both against what is gathered.
func (m metric) kind() string {
	switch {
	case strings.HasSuffix(m.name, "_total"):
		return "counter"
	case strings.HasSuffix(m.name, "_duration_seconds") && strings.HasPrefix(m.name, "scopeward_"):
		return "histogram"
	default:
		return "gauge"
	}
}

var description = regexp.MustCompile(`^Desc\{fqName: "(\w+)", help: "(.*)", unit: ".*", constLabels: \{.*\}, variableLabels: \{(.*)\}\}$`)

// fullRegistry is that of a service with all that it can have.
func fullRegistry(t *testing.T) *prometheus.Registry {
	t.Helper()
	s, _, _ := tlsService(t, tlsFolder(t), "{cert: good.crt, key: good.key}")
	s.limitConnections(nil)
	s.countLogLines(authz.NewLineWriter(testWriter{t}, nil))
	return s.registry
}

func registeredMetrics(t *testing.T, registry *prometheus.Registry) map[string]metric {
	t.Helper()
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		registry.Describe(descriptions)
	}()
	metrics := map[string]metric{}
	for d := range descriptions {
		m := description.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("%s is not understood", d)
		}
		metrics[m[1]] = metric{name: m[1], help: m[2], labels: strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' })}
	}
	return metrics
}

// TestMetricsReference: the reference is what the code says; UPDATE=1 writes it.
func TestMetricsReference(t *testing.T) {
	const file = "../../envoy/compose/observe/README.md"
	registry := fullRegistry(t)
	metrics := registeredMetrics(t, registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if m := metrics[f.GetName()]; strings.HasPrefix(m.name, "scopeward_") && m.kind() != strings.ToLower(f.GetType().String()) {
			t.Errorf("%s is a %s, and is taken for a %s", m.name, f.GetType(), m.kind())
		}
	}
	var table strings.Builder
	table.WriteString("\n| metric | type | labels | |\n|---|---|---|---|\n")
	for _, m := range metrics {
		if strings.HasPrefix(m.name, "scopeward_") {
			fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", m.name, m.kind(), strings.Join(m.labels, ", "), m.help)
		}
	}
	lines := strings.SplitAfter(table.String(), "\n")
	slices.Sort(lines[3 : len(lines)-1])
	want := strings.Join(lines, "") + "\nAnd those of the Go runtime (`go_*`) and of the process (`process_*`).\n"

	const mark = "writes it -->\n"
	text, got, found := strings.Cut(string(readFile(t, file)), mark)
	if !found {
		t.Fatalf("%s has no %q", file, mark)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(text+mark+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the reference is not what the code says; UPDATE=1 writes it (-code +file):\n%s", diff)
	}
}

// TestMetricNames: names, units and help texts are by the conventions of Prometheus.
func TestMetricNames(t *testing.T) {
	problems, err := testutil.GatherAndLint(fullRegistry(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

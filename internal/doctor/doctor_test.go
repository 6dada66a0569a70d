package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// findings examines a configuration.
func findings(t *testing.T, data []byte, o Options) []Finding {
	t.Helper()
	config, err := Parse(data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	report, err := config.Examine(o)
	if err != nil {
		t.Fatal(err)
	}
	return report.Findings
}

// examine gives the findings in a configuration as "name at place".
func examine(t *testing.T, data []byte, o Options) (found []string) {
	t.Helper()
	for _, f := range findings(t, data, o) {
		t.Logf("%s %s at %s:%d:%d (%q %q %q %q)\n%s\n%s", f.Severity, f.Name, f.Where, f.Line, f.Column, f.Listener, f.VirtualHost, f.Route, f.Cluster, f.Why, f.Fix)
		found = append(found, f.Name+" at "+f.Where)
	}
	return found
}

// TestFindings: each broken configuration has its one finding.
func TestFindings(t *testing.T) {
	shown := map[string]bool{}
	for _, f := range fixtures(t, "testdata/findings.yaml") {
		shown[f.Finding] = true
		t.Run(f.title(), func(t *testing.T) {
			got := examine(t, marshal(t, f.bootstrap(t)), Options(f.Options))
			if want := []string{f.Finding + " at " + f.where(t)}; !slices.Equal(got, want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), want[0])
			}
		})
	}
	for _, c := range Documentation() {
		if !shown[c.Name] {
			t.Errorf("no case shows %s", c.Name)
		}
	}
}

// TestGood: nothing is found where nothing is wrong.
func TestGood(t *testing.T) {
	for _, f := range fixtures(t, "testdata/good.yaml") {
		t.Run(f.title(), func(t *testing.T) {
			for _, found := range examine(t, marshal(t, f.bootstrap(t)), Options(f.Options)) {
				t.Error(found)
			}
		})
	}
}

// TestMutations: small edits get the findings that a careful reader has.
func TestMutations(t *testing.T) {
	for _, f := range fixtures(t, "testdata/mutations.yaml") {
		t.Run(f.title(), func(t *testing.T) {
			f.compare(t, findings(t, marshal(t, f.bootstrap(t)), Options(f.Options)))
		})
	}
}

// TestOurBootstraps: they are how it should be.
func TestOurBootstraps(t *testing.T) {
	files, err := filepath.Glob("../../envoy/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	further, err := filepath.Glob("../../envoy/*/envoy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, further...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range examine(t, data, Options{}) {
				t.Error(found)
			}
		})
	}
}

// TestControlPlanes: what Istio and Envoy Gateway make of manifests, as
// testdata/dumps/README.md says.
func TestControlPlanes(t *testing.T) {
	const (
		listeners = "configs[2].dynamic_listeners"
		filter    = "configs[2].dynamic_listeners[1].active_state.listener.default_filter_chain.filters[0].typed_config.http_filters[0].typed_config."
	)
	for file, want := range map[string][]string{
		// No dump tells the addresses of EDS.
		"istio-ingress.json": {
			"plaintext-authz at configs[1].dynamic_active_clusters[4].cluster.transport_socket",
			"raw-path at " + listeners + "[0].active_state.listener.filter_chains[0].filters[0].typed_config.http_filters",
		},
		// A sidecar believes the gateway in front of it; its outbound listeners are no way in.
		"istio-sidecar.json": {
			"client-address at " + listeners + "[3].active_state.listener.filter_chains[0].filters[0].typed_config.use_remote_address",
			"plaintext-authz at configs[1].dynamic_active_clusters[7].cluster.transport_socket",
			"raw-path at " + listeners + "[3].active_state.listener.filter_chains[0].filters[0].typed_config.http_filters",
		},
		"envoy-gateway.json": {"plaintext-authz at configs[1].dynamic_active_clusters[0].cluster.transport_socket"},
		"envoy-gateway-open.json": {
			"failure-mode-allow at " + filter + "failure_mode_allow",
			"route-bypass at configs[4].dynamic_route_configs[0].route_config.virtual_hosts[0].routes[0]",
			"plaintext-authz at configs[1].dynamic_active_clusters[0].cluster.transport_socket",
			"merge-slashes at " + listeners + "[1].active_state.listener.default_filter_chain.filters[0].typed_config.merge_slashes",
			"request-body at " + filter + "with_request_body",
			"status-on-error at " + filter + "status_on_error",
		},
	} {
		t.Run(file, func(t *testing.T) {
			data, err := os.ReadFile("testdata/dumps/" + file)
			if err != nil {
				t.Fatal(err)
			}
			if got := examine(t, data, Options{}); !slices.Equal(got, want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
			}
		})
	}
}

package doctor

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"

	"scopeward/internal/envoyrun"
)

// TestInEnvoy: a real Envoy takes all cases; what is found in its own dump of them
// is the same; and what is said to open does, with nobody in Scopeward's place.
func TestInEnvoy(t *testing.T) {
	path, err := envoyrun.Find(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("seen-path", r.RequestURI)
		w.Header().Set("seen-host", r.Host)
		for name, values := range r.Header {
			w.Header().Set("seen-"+name, values[0])
		}
	}))
	t.Cleanup(service.Close)
	allower := allowEverything(t)
	u, err := url.Parse(service.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	// Cases that differ in their one listener alone share an Envoy.
	var shared []*fixture
	together := (&fixture{}).bootstrap(t, local(port)...)
	for _, f := range slices.Concat(fixtures(t, "testdata/findings.yaml"), fixtures(t, "testdata/good.yaml"), fixtures(t, "testdata/mutations.yaml")) {
		document := f.bootstrap(t, local(port)...)
		if f.onlyListener(t, document, port) {
			shared = append(shared, f)
			continue
		}
		t.Run(f.title(), func(t *testing.T) {
			t.Parallel()
			if f.Allowed {
				document = f.bootstrap(t, append(local(port), change{authzPort, allower})...)
			}
			if f.Refused {
				if err := envoyrun.Validate(t.Context(), path, marshal(t, document)); err == nil {
					t.Fatal("Envoy takes it")
				}
				return
			}
			if f.Validate {
				if err := envoyrun.Validate(t.Context(), path, marshal(t, document)); err != nil {
					t.Fatalf("%v\n%s", err, marshal(t, document))
				}
				return
			}
			p := start(t, path, marshal(t, document))
			f.compare(t, findings(t, dump(t, p), Options(f.Options)))
			f.try(t, p, "public")
		})
	}
	t.Run("shared", func(t *testing.T) {
		t.Parallel()
		resources := together["static_resources"].(map[string]any)
		var listeners []any
		for _, f := range shared {
			listener := f.bootstrap(t, local(port)...)["static_resources"].(map[string]any)["listeners"].([]any)[0].(map[string]any)
			listener["name"] = f.title()
			listeners = append(listeners, listener)
		}
		resources["listeners"] = listeners
		p := start(t, path, marshal(t, together))
		found := map[string][]Finding{}
		for _, finding := range findings(t, dump(t, p), Options{}) {
			found[finding.Listener] = append(found[finding.Listener], finding)
		}
		for _, f := range shared {
			t.Run(f.title(), func(t *testing.T) {
				f.compare(t, found[f.title()])
				f.try(t, p, f.title())
			})
		}
	})
}

// onlyListener reports whether a case differs from minimal.yaml in its listener
// alone.
func (f *fixture) onlyListener(t *testing.T, document map[string]any, port int) bool {
	plain := (&fixture{}).bootstrap(t, local(port)...)
	listeners := func(d map[string]any) []any {
		list, _ := d["static_resources"].(map[string]any)["listeners"].([]any)
		return list
	}
	if f.Validate || f.Allowed || f.Refused || len(listeners(document)) != 1 || !reflect.DeepEqual(f.Options, fixtureOptions{}) {
		return false
	}
	plain["static_resources"].(map[string]any)["listeners"] = listeners(document)
	return reflect.DeepEqual(plain, document)
}

// compare holds what was found against what is to be found.
func (f *fixture) compare(t *testing.T, found []Finding) {
	t.Helper()
	var names []string
	for _, finding := range found {
		names = append(names, finding.Name)
	}
	if want := strings.Fields(f.Finding); !slices.Equal(names, want) {
		t.Errorf("found %q, want %q", names, want)
	}
}

// try sends a request to the listener that the case is about.
func (f *fixture) try(t *testing.T, p *envoyrun.Process, listener string) {
	t.Helper()
	path := cmp.Or(f.Asks, "/")
	if name, opens, ok := strings.Cut(f.Opens, " "); ok {
		path = opens
		if name != "public" {
			listener = name
		}
	}
	address, err := p.Address(t.Context(), listener)
	if err != nil {
		return // an internal listener, or none
	}
	request := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: address, Opaque: path}, Host: "example.com", Header: http.Header{}}
	for name, value := range f.Sends {
		request.Header[name] = []string{value}
	}
	if f.Upgrade != "" {
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", f.Upgrade)
	}
	response, err := http.DefaultTransport.RoundTrip(request.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if passed := response.Header.Get("seen-path") != ""; passed != (f.Opens != "" || f.Allowed) {
		t.Errorf("%s at %s got %s", path, listener, response.Status)
	}
	for name, want := range f.Sees {
		if got := response.Header.Get("seen-" + strings.TrimPrefix(name, ":")); got != want {
			t.Errorf("the service saw %q as %s, want %q", got, name, want)
		}
	}
}

// allowEverything answers in Scopeward's place, and gives its port.
func allowEverything(t *testing.T) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, allower{})
	go server.Serve(l)
	t.Cleanup(server.Stop)
	return l.Addr().(*net.TCPAddr).Port
}

type allower struct {
	authv3.UnimplementedAuthorizationServer
}

func (allower) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{Status: &status.Status{}}, nil
}

func start(t *testing.T, path string, bootstrap []byte) *envoyrun.Process {
	t.Helper()
	p, err := envoyrun.Start(t.Context(), envoyrun.Options{Path: path, Config: bootstrap, Concurrency: 1})
	if err != nil {
		t.Fatalf("%v\n%s", err, bootstrap)
	}
	t.Cleanup(func() { p.Stop() })
	return p
}

func dump(t *testing.T, p *envoyrun.Process) []byte {
	t.Helper()
	data, err := p.Admin(t.Context(), "/config_dump")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestFromControlPlane: listeners, routes, scopes, clusters and filters that come
// by xDS are found in the dump of a real Envoy, and are missed in its bootstrap.
func TestFromControlPlane(t *testing.T) {
	path, err := envoyrun.Find(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, resources ...any) map[string]any {
		file := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(file, marshal(t, map[string]any{"resources": resources}), 0o600); err != nil {
			t.Fatal(err)
		}
		return map[string]any{"resource_api_version": "V3", "path_config_source": map[string]any{"path": file}}
	}
	typed := func(message string, resource any) map[string]any {
		m := resource.(map[string]any)
		m["@type"] = "type.googleapis.com/" + message
		return m
	}
	document := (&fixture{}).bootstrap(t, append(local(1), change{"node", map[string]any{"id": "n", "cluster": "c"}})...)
	static := document["static_resources"].(map[string]any)
	listener := static["listeners"].([]any)[0].(map[string]any)
	manager := listener["filter_chains"].([]any)[0].(map[string]any)["filters"].([]any)[0].(map[string]any)["typed_config"].(map[string]any)

	routes := manager["route_config"].(map[string]any)
	routes["typed_per_filter_config"] = map[string]any{"authz": map[string]any{"@type": "type.googleapis.com/" + extAuthzPerRoute, "disabled": true}}
	delete(manager, "route_config")
	manager["scoped_routes"] = map[string]any{
		"name":              "scopes",
		"scope_key_builder": map[string]any{"fragments": []any{map[string]any{"header_value_extractor": map[string]any{"name": "x-scope", "index": 0}}}},
		"rds_config_source": write("rds", typed("envoy.config.route.v3.RouteConfiguration", routes)),
		"scoped_rds": map[string]any{"scoped_rds_config_source": write("srds", typed("envoy.config.route.v3.ScopedRouteConfiguration", map[string]any{
			"name": "scope", "route_configuration_name": "public",
			"key": map[string]any{"fragments": []any{map[string]any{"string_key": "a"}}},
		}))},
	}
	filter := manager["http_filters"].([]any)[1].(map[string]any)
	authz := filter["typed_config"].(map[string]any)
	authz["failure_mode_allow"] = true
	delete(filter, "typed_config")
	filter["name"] = "authz"
	filter["config_discovery"] = map[string]any{
		"type_urls":     []any{"type.googleapis.com/" + extAuthz},
		"config_source": write("ecds", typed("envoy.config.core.v3.TypedExtensionConfig", map[string]any{"name": "authz", "typed_config": authz})),
	}
	clusters := static["clusters"].([]any)
	delete(clusters[1].(map[string]any), "typed_extension_protocol_options")
	document["dynamic_resources"] = map[string]any{
		"lds_config": write("lds", typed("envoy.config.listener.v3.Listener", listener)),
		"cds_config": write("cds", typed("envoy.config.cluster.v3.Cluster", clusters[0]), typed("envoy.config.cluster.v3.Cluster", clusters[1])),
	}
	delete(document, "static_resources")

	bootstrap := marshal(t, document)
	if got := strings.Join(examine(t, bootstrap, Options{}), "\n"); got != "incomplete at dynamic_resources.lds_config" {
		t.Errorf("in the bootstrap:\n%s", got)
	}
	got := examine(t, dump(t, start(t, path, bootstrap)), Options{})
	want := []string{
		"failure-mode-allow at .ecds_filters[0].ecds_filter.typed_config.failure_mode_allow",
		"route-bypass at .dynamic_route_configs[0].route_config.typed_per_filter_config.authz.disabled",
		"authz-cluster at .dynamic_active_clusters[*].cluster.typed_extension_protocol_options",
	}
	for i := range got {
		got[i] = regexp.MustCompile(` configs\[\d+\]`).ReplaceAllString(got[i], " ") // their order is Envoy's
		got[i] = regexp.MustCompile(`clusters\[\d+\]`).ReplaceAllString(got[i], "clusters[*]")
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

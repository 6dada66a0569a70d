package serve

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// adminOf is the admin listener's handler with a configuration of its own.
func adminOf(t *testing.T, admin map[string]any) http.Handler {
	t.Helper()
	config := corpus.Configure(t, t.TempDir(), "jwks", tokentest.New(t), map[string]any{"admin": admin},
		map[string]string{"policy.yaml": "version: 1\nrules:\n  - {match: /, public: true}\n"})
	s, _ := startService(t, config)
	return s.newAdmin().Handler
}

// TestAdminGuard: a web site can have a browser ask the admin listener by a name of its
// own, and from a page of its own; neither is answered.
func TestAdminGuard(t *testing.T) {
	t.Parallel()
	loopback := adminOf(t, nil)
	remote := adminOf(t, map[string]any{"allow_remote": true, "hosts": []string{"scopeward.internal.example"}})
	ask := func(h http.Handler, method, url string, headers ...string) int {
		r := httptest.NewRequest(method, url, strings.NewReader("{}"))
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	for _, host := range []string{"127.0.0.1:9192", "127.0.0.1", "localhost:9192", "LOCALHOST", "[::1]:9192", "[::1]", "10.1.2.3:9192", "[fe80::1%25eth0]:9192"} {
		if got := ask(loopback, "GET", "http://"+host+"/config"); got != 200 {
			t.Errorf("%s: %d", host, got)
		}
	}
	for _, path := range []string{"/", "/config", "/metrics", "/healthz", "/readyz", "/nothing"} {
		for _, host := range []string{"rebound.example", "rebound.example:9192", "127.0.0.1.rebound.example", "localhost.rebound.example", "scopeward.internal.example"} {
			if got := ask(loopback, "GET", "http://"+host+path); got != http.StatusMisdirectedRequest {
				t.Errorf("%s%s: %d", host, path, got)
			}
		}
		want := http.StatusMisdirectedRequest
		if path == "/metrics" || path == "/healthz" || path == "/readyz" {
			want = http.StatusOK // Prometheus and probes ask by any name
		}
		if got := ask(remote, "GET", "http://scopeward.default.svc:9192"+path); got != want {
			t.Errorf("remote, %s: %d", path, got)
		}
	}
	if got := ask(remote, "GET", "http://Scopeward.internal.example:9192/config"); got != http.StatusOK {
		t.Errorf("by a name of admin.hosts: %d", got)
	}
	for name, headers := range map[string][]string{
		"another site":   {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"},
		"another port":   {"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"},
		"another origin": {"Origin", "http://rebound.example"},
		"no origin":      {"Origin", "null"},
	} {
		if got := ask(loopback, "GET", "http://127.0.0.1:9192/config", headers...); got != http.StatusForbidden {
			t.Errorf("%s: %d", name, got)
		}
	}
	for name, headers := range map[string][]string{
		"its own page": {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Origin", "http://127.0.0.1:9192"},
		"old browser":  {"Origin", "http://127.0.0.1:9192"},
		"a person":     {"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"},
		"a link":       {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"},
	} {
		if got := ask(loopback, "GET", "http://127.0.0.1:9192/config", headers...); got != http.StatusOK {
			t.Errorf("%s: %d", name, got)
		}
	}
}

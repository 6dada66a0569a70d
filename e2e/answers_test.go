package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

const answersPolicy = `version: 1
rules:
  - {match: /acme.Users/List, scopes: [read:users]}
  - {match: /acme.Users/Delete, scopes: [admin]}
`

// TestAnswersForGRPC: clients of gRPC and gRPC-Web get from Envoy the status that they know,
// whatever answers are written for pages.
func TestAnswersForGRPC(t *testing.T) {
	idp, up := tokentest.New(t), newUpstream(t)
	config := corpus.Configure(t, t.TempDir(), "introspection", idp, map[string]any{"answers": []any{
		map[string]any{"accept": "text/html", "redirect": "/login"},
		map[string]any{"content_type": "text/html", "body": "<p>{error}"},
	}}, map[string]string{"policy.yaml": answersPolicy})
	withWeb := func(manager map[string]any) {
		web := map[string]any{"name": "envoy.filters.http.grpc_web", "typed_config": map[string]any{"@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"}}
		manager["http_filters"] = append([]any{web}, manager["http_filters"].([]any)...)
	}
	s := serve(t, "--config", config)
	addresses := startEnvoy(t, up.Listener.Addr().String(), []target{{name: "plain", authz: s.grpc}, {name: "web", authz: s.grpc, manager: withWeb}})
	reader := idp.Mint(map[string]any{"scope": "read:users"}, nil)
	call := func(listener, kind, method, token string) (*http.Response, string) {
		t.Helper()
		request := "POST /acme.Users/" + method + " HTTP/1.1\r\nHost: api.example.com\r\nAccept: text/html\r\nTE: trailers\r\nContent-Length: 0\r\nContent-Type: " + kind + "\r\n"
		if token != "" {
			request += "Authorization: Bearer " + token + "\r\n"
		}
		res, body := exchange(t, addresses[listener], []byte(request+"Connection: close\r\n\r\n"))
		return res, string(body)
	}
	status := func(res *http.Response, body string) string {
		if got := res.Header.Get("Grpc-Status"); got != "" {
			return got
		}
		for line := range strings.Lines(body) { // the trailers of gRPC-Web are in the body
			if _, got, found := strings.Cut(strings.TrimSpace(line), "grpc-status:"); found {
				return strings.TrimSpace(got)
			}
		}
		return ""
	}
	check := func(method, token, want string, httpStatus int) {
		t.Helper()
		for listener, kind := range map[string]string{"plain": "application/grpc", "web": "application/grpc-web+proto"} {
			res, body := call(listener, kind, method, token)
			if got := status(res, body); got != want || strings.Contains(body, "<p>") || res.Header.Get("Location") != "" {
				t.Errorf("%s: %s gets the status %q, want %s: %v %q", kind, method, got, want, res.Header, body)
			}
		}
		// Without Envoy's filter for gRPC-Web it is HTTP to Envoy, and JSON.
		res, body := call("plain", "application/grpc-web+proto", method, token)
		if res.StatusCode != httpStatus || !strings.HasPrefix(body, `{"error":`) {
			t.Errorf("%s: got %d %s", method, res.StatusCode, body)
		}
	}
	check("List", "", "16", 401)      // UNAUTHENTICATED
	check("Delete", reader, "7", 403) // PERMISSION_DENIED
	idp.Fail(tokentest.IntrospectionPath, tokentest.Error)
	check("List", idp.Mint(map[string]any{"jti": "new"}, nil), "14", 503) // UNAVAILABLE
	if res, body := exchange(t, addresses["plain"], []byte("GET /acme.Users/List HTTP/1.1\r\nHost: api.example.com\r\nAccept: text/html\r\nConnection: close\r\n\r\n")); res.StatusCode != http.StatusFound {
		t.Errorf("a browser gets %s %s", res.Status, body)
	}
}

// TestAnswerFileEdit: the file of a body is read again when it changes; a broken one leaves
// what was good.
func TestAnswerFileEdit(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "page.html")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("<p>first {code}")
	s := start(t, "jwks", map[string]any{"answers": []any{map[string]any{"body": "file:" + page}}})
	body := func() string {
		t.Helper()
		res, body := exchange(t, strings.TrimPrefix(s.url, "http://"), []byte("GET /users HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"))
		return res.Header.Get("Content-Type") + " " + string(body)
	}
	if got := body(); got != "text/html; charset=utf-8 <p>first missing_token" {
		t.Errorf("got %q", got)
	}
	write("<p>second {code}")
	eventually(t, "the new page is live", func() bool { return strings.Contains(body(), "second missing_token") })
	write("<p>\n third {cod}")
	eventually(t, "the mistake is said with its place", func() bool {
		return strings.Contains(s.stderr.String(), "page.html:2:8: answers: body: there is no placeholder {cod}")
	})
	if got := body(); !strings.Contains(got, "second missing_token") {
		t.Errorf("got %q", got)
	}
}

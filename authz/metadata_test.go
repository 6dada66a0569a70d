package authz

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"scopeward/authz/wire"
	"scopeward/policy"
)

// TestMetadataURL: the well-known path stands before that of the identifier (RFC 9728 section 3.1).
func TestMetadataURL(t *testing.T) {
	for identifier, want := range map[string]string{
		"https://api.acme.dev":           "https://api.acme.dev/.well-known/oauth-protected-resource",
		"https://api.acme.dev/":          "https://api.acme.dev/.well-known/oauth-protected-resource",
		"https://api.acme.dev:8443/a/b":  "https://api.acme.dev:8443/.well-known/oauth-protected-resource/a/b",
		"https://api.acme.dev/mcp/":      "https://api.acme.dev/.well-known/oauth-protected-resource/mcp/",
		"https://api.acme.dev/r%C3%A9":   "https://api.acme.dev/.well-known/oauth-protected-resource/r%C3%A9",
		"https://api.acme.dev?a=1":       "",
		"https://api.acme.dev/a?":        "",
		"https://api.acme.dev/#fragment": "",
		"/api":                           "",
		"https://api.acme.dev/%zz":       "",
	} {
		got, err := MetadataURL(identifier)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s gives %q, %v; want %q", identifier, got, err, want)
		}
	}
}

// TestMetadataDocument: what is published, and of what it consists.
func TestMetadataDocument(t *testing.T) {
	asked, err := policy.NewRequest("GET", "api.acme.dev", "/.well-known/oauth-protected-resource/v1")
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMetadata(Resource{
		BearerMethods: []string{"header"},
		Identifier:    "https://API.acme.dev:8443/v1", AuthorizationServers: []string{"https://acme.kinde.com"}, Scopes: []string{"a", "b"}, Name: "<A & B>", Documentation: "https://docs.acme.dev",
	})
	want := Metadata{
		address: "https://API.acme.dev:8443/.well-known/oauth-protected-resource/v1", base: "/v1",
		Document: Document{host: "api.acme.dev", path: asked.Path, body: `{"resource":"https://API.acme.dev:8443/v1","authorization_servers":["https://acme.kinde.com"],"scopes_supported":["a","b"],"bearer_methods_supported":["header"],"resource_name":"<A & B>","resource_documentation":"https://docs.acme.dev"}` + "\n"},
	}
	if diff := cmp.Diff(want, m, cmp.AllowUnexported(Metadata{}, Document{}, policy.Path{})); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	if _, err := NewMetadata(Resource{Identifier: "https://api.acme.dev/a//b"}); err == nil {
		t.Error("a path that every request is refused for is taken")
	}
}

// TestMetadataIsNoShadow: the shadow policy has no say in what no policy decides.
func TestMetadataIsNoShadow(t *testing.T) {
	s, written, _ := testServer(t, nil, func(s *Snapshot) {
		s.Resources = []Metadata{resourceOf(t, "https://api.example.com")}
		s.Shadow = s.Policy
	})
	if status := statusOf(check(t, s, get("/.well-known/oauth-protected-resource", ""))); status != 200 {
		t.Errorf("it answers %d", status)
	}
	if events := eventsOf(t, s, written); len(events) != 1 || events[0].Code != "metadata" || events[0].Shadow != "" {
		t.Errorf("%+v", events)
	}
}

func resourceOf(t *testing.T, identifier string) Metadata {
	t.Helper()
	m, err := NewMetadata(Resource{Identifier: identifier})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestResourceOfRequest: of several resources, a challenge names the one that is about the
// request, and none rather than another's.
func TestResourceOfRequest(t *testing.T) {
	s := &Snapshot{}
	for _, identifier := range []string{"https://api.example.com", "https://api.example.com/mcp", "https://api.example.com/mcp/admin/", "https://other.example.com/v1"} {
		s.Resources = append(s.Resources, resourceOf(t, identifier))
	}
	const root = "https://api.example.com" + wellKnown
	for asked, want := range map[[2]string]string{
		{"api.example.com", "/"}:                root,
		{"api.example.com", "/mcpx"}:            root,
		{"api.example.com", "/mcp"}:             root + "/mcp",
		{"API.example.com:8443", "/mcp/tools"}:  root + "/mcp",
		{"api.example.com", "/mcp/admin"}:       root + "/mcp/admin/",
		{"api.example.com", "/mcp/admin/x?a=b"}: root + "/mcp/admin/",
		{"other.example.com", "/v1/x"}:          "https://other.example.com" + wellKnown + "/v1",
		{"other.example.com", "/v2"}:            "",
		{"unknown.example.com", "/mcp"}:         "",
	} {
		r := &request{asked: wire.Request{HTTP: true, Method: "GET", Host: asked[0], Path: asked[1]}}
		if err := r.canonicalize(Hops{}, &s.Credentials); err != nil {
			t.Fatal(err)
		}
		if got := s.resourceMetadata(r); got != want {
			t.Errorf("%v: %q, want %q", asked, got, want)
		}
	}
}

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"scopeward/cmd/demo/idp"
	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

const mcpPolicy = `version: 1
rules:
  - {match: POST /mcp, scopes: [read:users]}
  - {match: POST /mcp/admin, scopes: [read:users, admin]}
`

// mcpClient finds its way as a client of the Model Context Protocol does, by its authorization
// specification (https://modelcontextprotocol.io/specification/2025-11-25/basic/authorization).
// What goes to the API's name goes to Envoy.
type mcpClient struct {
	*testing.T
	envoy string
}

func (c mcpClient) do(method, address, token string, form url.Values) (*http.Response, string) {
	c.Helper()
	r, err := http.NewRequestWithContext(c.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		c.Fatal(err)
	}
	if r.URL.Host == "api.demo.example" {
		r.Host, r.URL.Host, r.URL.Scheme = r.URL.Host, c.envoy, "http"
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.Fatal(err)
	}
	return res, string(body)
}

func (c mcpClient) object(address string) (object map[string]any) {
	c.Helper()
	res, body := c.do(http.MethodGet, address, "", nil)
	if res.StatusCode != http.StatusOK {
		return nil
	}
	if err := json.Unmarshal([]byte(body), &object); err != nil {
		c.Fatalf("%s: %v in %s", address, err, body)
	}
	return object
}

// challenge reads the parameters of a Bearer challenge.
func (c mcpClient) challenge(res *http.Response) map[string]string {
	parameters := map[string]string{}
	for _, m := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(res.Header.Get("WWW-Authenticate"), -1) {
		parameters[m[1]] = m[2]
	}
	return parameters
}

// authorizationServer finds the metadata of an issuer: RFC 8414, then OpenID Connect Discovery.
func (c mcpClient) authorizationServer(issuer string) map[string]any {
	c.Helper()
	u, err := url.Parse(issuer)
	if err != nil {
		c.Fatal(err)
	}
	origin := u.Scheme + "://" + u.Host
	for _, address := range []string{
		origin + "/.well-known/oauth-authorization-server" + u.Path, origin + "/.well-known/openid-configuration" + u.Path, issuer + "/.well-known/openid-configuration",
	} {
		if found := c.object(address); found != nil && found["issuer"] == issuer {
			return found
		}
	}
	c.Fatalf("%s has no metadata", issuer)
	return nil
}

// TestMCPClient: from the bare address of an MCP server to an answer, and on to a tool that
// needs more scopes.
func TestMCPClient(t *testing.T) {
	t.Parallel()
	provider, err := idp.Serve(idp.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close() })
	issuer := provider.URL() + "/" + string(idp.Keys)
	const server = "https://api.demo.example/mcp"
	config := corpus.Configure(t, t.TempDir(), "jwks", tokentest.New(t), map[string]any{
		"providers":   []any{map[string]any{"name": "demo", "issuer": issuer, "audiences": []string{idp.Audience}}},
		"resource":    map[string]any{"identifier": server},
		"credentials": []any{"bearer", map[string]any{"query": "access_token"}},
	}, map[string]string{"policy.yaml": mcpPolicy})
	s := serve(t, "--config", config)
	c := mcpClient{t, startEnvoy(t, newUpstream(t).Listener.Addr().String(), []target{{name: "mcp", authz: s.grpc}})["mcp"]}

	res, _ := c.do(http.MethodPost, server, "", nil)
	challenge := c.challenge(res)
	if res.StatusCode != http.StatusUnauthorized || challenge["scope"] != "read:users" {
		t.Fatalf("without a token: %s, %v", res.Status, challenge)
	}
	resource := c.object(challenge["resource_metadata"])
	if resource["resource"] != server || !slices.Equal(resource["bearer_methods_supported"].([]any), []any{"header", "query"}) {
		t.Fatalf("the resource says %v", resource)
	}
	metadata := c.authorizationServer(resource["authorization_servers"].([]any)[0].(string))
	tokenFor := func(scope string) string {
		t.Helper()
		res, body := c.do(http.MethodPost, metadata["token_endpoint"].(string), "", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {idp.MachineClient}, "client_secret": {provider.Secret()}, "scope": {scope}, "resource": {server},
		})
		var answer struct {
			Token string `json:"access_token"`
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Token == "" {
			t.Fatalf("no token: %s %s", res.Status, body)
		}
		return answer.Token
	}
	token := tokenFor(challenge["scope"])
	if res, body := c.do(http.MethodPost, server, token, nil); res.StatusCode != http.StatusOK {
		t.Fatalf("with a token: %s %s", res.Status, body)
	}
	res, _ = c.do(http.MethodPost, server+"/admin", token, nil)
	challenge = c.challenge(res)
	if res.StatusCode != http.StatusForbidden || challenge["error"] != "insufficient_scope" || challenge["scope"] != "read:users admin" || challenge["resource_metadata"] == "" {
		t.Fatalf("with too few scopes: %s, %v", res.Status, challenge)
	}
	if res, body := c.do(http.MethodPost, server+"/admin", tokenFor(challenge["scope"]), nil); res.StatusCode != http.StatusOK {
		t.Errorf("with more scopes: %s %s", res.Status, body)
	}
}

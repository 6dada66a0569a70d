package e2e

import (
	"crypto/tls"
	"encoding/pem"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/pki"
	"scopeward/internal/testenv/tokentest"
)

// TestBoundByMutualTLS: a token that is bound to a certificate passes through a real Envoy
// with that certificate alone: by what ext_authz says of the connection, or by
// x-forwarded-client-cert where that is trusted, whatever the client writes there itself.
func TestBoundByMutualTLS(t *testing.T) {
	t.Parallel()
	dir, idp, up := t.TempDir(), tokentest.New(t), newUpstream(t)
	ca := pki.NewCA(t, "ca")
	ca.Issue(t, pki.Leaf{Names: []string{"127.0.0.1"}}).Write(t, dir, "server")
	pki.Write(t, filepath.Join(dir, "ca.crt"), ca.PEM)
	owner, thief := ca.Issue(t, pki.Leaf{Names: []string{"owner"}}), ca.Issue(t, pki.Leaf{Names: []string{"thief"}})
	block, _ := pem.Decode(owner.Cert)
	thumbprint := tokentest.Thumbprint(block.Bytes)
	odd := ca.Issue(t, pki.Leaf{Names: []string{"spiffe://thief/x,Hash=" + tokentest.HexOf(thumbprint)}}) // a name that looks like an element
	const rules = "version: 1\nrules: [{match: GET /users, scopes: [read:users]}]\n"
	configure := func(changes map[string]any) string {
		return corpus.Configure(t, t.TempDir(), "jwks", idp, changes, map[string]string{"policy.yaml": rules})
	}
	listenTLS := func(l map[string]any) {
		file := func(name string) map[string]any { return map[string]any{"filename": filepath.Join(dir, name)} }
		l["filter_chains"].([]any)[0].(map[string]any)["transport_socket"] = map[string]any{
			"name": "envoy.transport_sockets.tls", "typed_config": map[string]any{
				"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
				"common_tls_context": map[string]any{
					"tls_certificates":   []any{map[string]any{"certificate_chain": file("server.crt"), "private_key": file("server.key")}},
					"validation_context": map[string]any{"trusted_ca": file("ca.crt")},
				},
			},
		}
	}
	forward := func(mode string) func(map[string]any) {
		return func(m map[string]any) {
			m["forward_client_cert_details"] = mode
			m["set_current_client_cert_details"] = map[string]any{"subject": true, "uri": true, "dns": true, "cert": true}
		}
	}
	include := func(m map[string]any) {
		for _, f := range m["http_filters"].([]any) {
			if filter := f.(map[string]any); filter["name"] == "envoy.filters.http.ext_authz" {
				filter["typed_config"].(map[string]any)["include_peer_certificate"] = true
			}
		}
	}
	trusting := map[string]any{"listen": map[string]any{"grpc": "127.0.0.1:0", "admin": "127.0.0.1:0", "trust_xfcc": true}}
	plain := serve(t, "--config", configure(nil)).grpc
	xfcc := serve(t, "--config", configure(trusting)).grpc
	addresses := startEnvoy(t, up.Listener.Addr().String(), []target{
		{name: "peer", authz: plain, listener: listenTLS, manager: include},
		{name: "untold", authz: plain, listener: listenTLS},
		{name: "set", authz: xfcc, listener: listenTLS, manager: forward("SANITIZE_SET")},
		{name: "append", authz: xfcc, listener: listenTLS, manager: forward("APPEND_FORWARD")},
	})
	bound := idp.Mint(map[string]any{"cnf": map[string]any{"x5t#S256": thumbprint}}, nil)
	ask := func(at string, client *pki.Pair, header string) int {
		t.Helper()
		config := &tls.Config{InsecureSkipVerify: true}
		if client != nil {
			pair, err := tls.X509KeyPair(client.Cert, client.Key)
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		c := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 20 * time.Second}
		req, err := http.NewRequest(http.MethodGet, "https://"+addresses[at]+"/users", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+bound)
		if header != "" {
			req.Header.Set("X-Forwarded-Client-Cert", header)
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	forged := "Hash=" + tokentest.HexOf(thumbprint)
	for _, c := range []struct {
		name, at string
		client   *pki.Pair
		header   string
		want     int
	}{
		{"the owner", "peer", &owner, "", 200},
		{"the owner, once more", "peer", &owner, "", 200},
		{"a thief", "peer", &thief, "", 401},
		{"a thief with the header", "peer", &thief, forged, 401},
		{"nobody", "peer", nil, "", 401},
		{"nobody with the header", "peer", nil, forged, 401},
		{"the owner, where Envoy says nothing", "untold", &owner, "", 401},
		{"the owner, by the header", "set", &owner, "", 200},
		{"the owner, with a header of its own", "set", &owner, "Hash=x", 200},
		{"a thief, by the header", "set", &thief, forged, 401},
		{"a thief with an odd name", "set", &odd, "", 401},
		{"nobody, by the header", "set", nil, forged, 401},
		{"the owner, appended", "append", &owner, "", 200},
		{"a thief, appended", "append", &thief, forged, 401},
		{"a thief, appended to an open quote", "append", &thief, forged + `;Subject="`, 401},
		{"a thief with an odd name, appended", "append", &odd, `Subject="`, 401},
		{"nobody, appended", "append", nil, forged, 401},
	} {
		if got := ask(c.at, c.client, c.header); got != c.want {
			t.Errorf("%s (%s): %d, want %d", c.name, strings.ToUpper(c.at), got, c.want)
		}
	}
}

package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"scopeward/internal/process"
	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// TestNoSecretsAnywhere: a marked token and the client secret go every way that a
// token can go, good, refused, malformed, and while the provider fails; with all
// that can be logged being logged, neither is in a log, an audit event, a metric,
// an answer or on a page. (Redis has TestSharingShowsNoSecrets.)
func TestNoSecretsAnywhere(t *testing.T) {
	t.Parallel()
	faults := []tokentest.Fault{"", tokentest.Error, tokentest.TooMany, tokentest.HTML, tokentest.Truncated, tokentest.Deep, tokentest.Redirect, tokentest.Down}
	var systems []*system
	var targets []target
	up := newUpstream(t)
	for _, mode := range corpus.Modes {
		idp := tokentest.New(t)
		configured := mode
		if mode == "profile" {
			configured = corpus.OpaqueProfile
		}
		config := corpus.Configure(t, t.TempDir(), configured, idp, map[string]any{
			"log": map[string]any{"level": "debug", "format": "text"}, "rate_limit": map[string]any{"count": "off"},
		}, map[string]string{"policy.yaml": usersPolicy})
		s := &system{idp: idp, scopeward: serve(t, "--config", config)}
		systems = append(systems, s)
		targets = append(targets, target{name: mode, authz: s.grpc})
	}
	addresses := startEnvoy(t, up.Listener.Addr().String(), targets)
	for i, s := range systems {
		mode := corpus.Modes[i]
		t.Run(mode, func(t *testing.T) {
			var canaries []string
			var answers strings.Builder
			stream, closeStream := s.watch(t)
			for _, fault := range faults {
				s.idp.Fail("", fault)
				for _, raw := range marked(s.idp, string(fault)) {
					canaries = append(canaries, raw)
					if fault == "" || fault == tokentest.HTML {
						answers.WriteString(s.explain(t, raw))
					}
					for _, authorization := range []string{"Bearer " + raw, "Bearer " + raw + " x", "Bearer \"" + raw + "\"", "Basic " + raw, raw, "Bearer " + raw + ", Bearer " + raw} {
						res, body := exchange(t, addresses[mode], []byte("GET /users?access_token="+raw+" HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: "+authorization+"\r\nConnection: close\r\n\r\n"))
						answers.Write(body)
						for name, values := range res.Header {
							answers.WriteString(name + strings.Join(values, " "))
						}
					}
				}
			}
			eventually(t, "the page shows the last one", func() bool { return strings.Contains(stream.String(), `"requestId"`) })
			closeStream()
			if !strings.Contains(stream.String(), "canary-of-a-user") {
				t.Error("the stream does not show the user: the test looks in the wrong place")
			}
			shown := answers.String() + s.stdout.String() + s.stderr.String() + stream.String()
			for _, page := range []string{"/", "/page.js", "/state", "/rules", "/healthz", "/readyz", "/metrics", "/config"} {
				shown += s.page(t, page)
			}
			if !strings.Contains(shown, "canary-of-a-user") {
				t.Error("the user is not shown: the test looks in the wrong place")
			}
			for _, raw := range append(canaries, tokentest.ClientSecret) {
				for _, secret := range []string{raw, raw[strings.LastIndex(raw, ".")+1:]} {
					if strings.Contains(shown, secret) {
						t.Errorf("%q is shown", secret)
					}
				}
			}
		})
	}
}

// watch collects what the page's stream shows, until the function that it gives is called.
func (s *system) watch(t *testing.T) (shown *process.Output, end func()) {
	t.Helper()
	res, err := http.Get("http://" + s.admin + "/stream")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	shown = &process.Output{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(shown, res.Body) // until it is closed
	}()
	return shown, func() { res.Body.Close(); <-done }
}

// explain asks the page's form about a token.
func (s *system) explain(t *testing.T, raw string) string {
	t.Helper()
	question, err := json.Marshal(map[string]string{"method": "GET", "url": "/users", "token": raw})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post("http://"+s.admin+"/explain", "application/json", bytes.NewReader(question))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s %v", res.Status, body, err)
	}
	return string(body)
}

// marked are tokens whose user is marked: good, expired, forged, and opaque.
func marked(idp *tokentest.Provider, fault string) []string {
	sub := "canary-of-a-user"
	good := idp.Mint(map[string]any{"sub": sub, "jti": fault}, nil)
	opaque := "opaque-canary-" + strings.ReplaceAll(fault, " ", "-")
	idp.Opaque(opaque, map[string]any{"sub": sub})
	return []string{
		good,
		idp.Mint(map[string]any{"sub": sub, "jti": fault, "exp": 1}, nil),
		good[:len(good)-8] + "canaryAA",
		opaque,
	}
}

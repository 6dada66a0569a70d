package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// providerFaults are the ways in which an endpoint can fail: it tells nothing of any
// token then.
func providerFaults(elsewhere string) map[string]http.HandlerFunc {
	text := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Retry-After", "1") // counts for 429 and 503
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	jsonText := func(body string) http.HandlerFunc { return text(200, "application/json", body) }
	// The server sees that a client has left only once it has read the request.
	whole := func(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
	return map[string]http.HandlerFunc{
		"429":             text(429, "text/plain", "slow down"),
		"500":             text(500, "application/json", `{"error":"server_error"}`),
		"502":             text(502, "text/html", "<h1>Bad Gateway</h1>"),
		"503":             text(503, "text/plain", ""),
		"404":             text(404, "text/plain", "404 page not found"),
		"a web page":      text(200, "text/html", "<!doctype html><title>Sign in</title>"),
		"no body":         jsonText(""),
		"null":            jsonText("null"),
		"an empty object": jsonText("{}"),
		"half a document": jsonText(`{"sub":"x","active":true,"keys":[`),
		"two documents":   jsonText(`{"sub":"x","active":true,"keys":[]}{}`),
		"repeated names":  jsonText(`{"sub":"x","sub":"y","active":true,"active":false,"keys":[],"keys":[]}`),
		"deeply nested":   jsonText(`{"sub":"x","active":true,"keys":[],"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}"),
		"huge":            jsonText(`{"sub":"x","active":true,"keys":[],"x":"` + strings.Repeat("x", 2<<20) + `"}`),
		"hangs":           func(_ http.ResponseWriter, r *http.Request) { whole(r); <-r.Context().Done() },
		"drips": func(w http.ResponseWriter, r *http.Request) {
			whole(r)
			for r.Context().Err() == nil {
				fmt.Fprint(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(50 * time.Millisecond)
			}
		},
		"closes the connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"is cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"sub":"x","active":true,"keys":[`)
		},
		"is no HTTP": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				fmt.Fprint(conn, "SSH-2.0-OpenSSH_9.2\r\n\r\n")
				conn.Close()
			}
		},
		"redirects elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
		},
		"redirects to itself": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
	}
}

// keyFaults are sets without one key that can be read; a set without keys, or with others,
// withdraws those before.
func keyFaults() map[string]http.HandlerFunc {
	faults := map[string]http.HandlerFunc{}
	for name, set := range map[string]string{
		"no usable keys": `{"keys":[{"kty":"oct","k":"AA","kid":"key-1"},{"kty":"XYZ","kid":"key-1"},{"kty":"EC","crv":"P-999","x":"AA","y":"AA","kid":"key-1"},{"kty":"RSA","n":"!","e":"AQAB","kid":"key-1"}]}`,
	} {
		faults[name] = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, set) }
	}
	return faults
}

// faulty is one provider of many at one server: an issuer with an endpoint of its own.
type faulty struct {
	*system
	mode, path, issuer string
	well               http.HandlerFunc
}

func (f *faulty) mint(sub, kid string) string {
	return f.idp.Mint(map[string]any{"iss": f.issuer, "sub": sub}, map[string]any{"kid": kid})
}

// config is the provider's in scopeward.yaml.
func (f *faulty) config() map[string]any {
	url := f.idp.URL + f.path
	c := map[string]any{
		"name": f.path[1:], "issuer": f.issuer, "validation": f.mode, "audiences": []string{tokentest.Audience}, "timeout": "1s", "opaque": false,
	}
	switch f.mode {
	case "jwks":
		c["jwks"] = map[string]any{"url": url, "refresh": "1s"}
	case "profile":
		c["profile"] = map[string]any{"url": url}
	case "introspection":
		c["introspection"] = map[string]any{"url": url, "client_id": tokentest.ClientID, "client_secret": "file:secret"}
	}
	return c
}

// subjectOf reads the sub of a JWT that the test has made.
func subjectOf(raw string) string {
	var claims struct{ Sub string }
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	_ = json.Unmarshal(payload, &claims)
	return claims.Sub
}

// answers is how the endpoint of a mode answers while all is well.
func answers(idp *tokentest.Provider, mode string) http.HandlerFunc {
	switch mode {
	case "jwks":
		return func(w http.ResponseWriter, _ *http.Request) {
			own := idp.JWKS() // and the same key under another name
			later := strings.Replace(strings.TrimSuffix(strings.TrimPrefix(own, `{"keys":[`), `]}`), "key-1", "key-later", 1)
			fmt.Fprint(w, strings.Replace(own, `]}`, ","+later+`]}`, 1))
		}
	case "profile":
		return func(w http.ResponseWriter, r *http.Request) {
			raw, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			fmt.Fprintf(w, `{"sub":%q}`, subjectOf(raw))
		}
	default:
		return func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"active":true,"sub":%q}`, subjectOf(r.PostFormValue("token")))
		}
	}
}

// startFaulty runs one Scopeward, behind one Envoy, with a provider for each mode and
// fault, all of them well.
func startFaulty(t *testing.T, idp *tokentest.Provider, config map[string]any, faults func(mode string) []string) map[string]*faulty {
	t.Helper()
	all := map[string]*faulty{}
	var providers []any
	for _, mode := range []string{"jwks", "profile", "introspection"} {
		for i, fault := range faults(mode) {
			f := &faulty{mode: mode, path: fmt.Sprintf("/%s-%d", mode, i), system: &system{idp: idp}}
			f.issuer, f.well = idp.URL+f.path, answers(idp, mode)
			if mode == "jwks" {
				f.well = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, idp.JWKS()) }
			}
			idp.Handle(f.path, f.well)
			providers = append(providers, f.config())
			all[mode+"/"+fault] = f
		}
	}
	dir := t.TempDir()
	changes := map[string]any{"providers": providers, "rate_limit": map[string]any{"count": "off"}}
	maps.Copy(changes, config)
	s := serve(t, "--config", corpus.Configure(t, dir, "introspection", idp, changes, map[string]string{"policy.yaml": usersPolicy}))
	url := "http://" + startEnvoy(t, newUpstream(t).Listener.Addr().String(), []target{{name: "public", authz: s.grpc}})["public"]
	for _, f := range all {
		f.scopeward, f.url = s, url
	}
	return all
}

// TestProviderFaults: whatever a provider does wrong, in each way of validation: who is
// in stays in, who is new gets 503 with Retry-After in time, never 401 and never for
// longer than the fault lasts.
func TestProviderFaults(t *testing.T) {
	t.Parallel()
	var followed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(func() {
		elsewhere.Close()
		if n := followed.Load(); n > 0 {
			t.Errorf("redirects to another host were followed %d times, with tokens and secrets", n)
		}
	})
	handlers := providerFaults(elsewhere.URL)
	for name, h := range keyFaults() {
		handlers["jwks/"+name] = h
	}
	all := startFaulty(t, tokentest.New(t), nil, func(mode string) []string {
		list := slices.Sorted(maps.Keys(providerFaults("")))
		if mode == "jwks" {
			list = append(list, slices.Sorted(maps.Keys(keyFaults()))...)
		}
		return list
	})
	for name, f := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, fault, _ := strings.Cut(name, "/")
			begin := handlers[fault]
			if begin == nil {
				begin = handlers[name]
			}
			f.survives(t, begin)
		})
	}
}

func (f *faulty) survives(t *testing.T, fault http.HandlerFunc) {
	known, unknown := f.mint("known", "key-1"), f.mint("unknown", "key-1")
	eventually(t, "who comes first is let in", func() bool { status, _ := f.status(t, "/users", known); return status == 200 })

	f.idp.Handle(f.path, fault)
	f.want(t, "/users", known, 200)
	if f.mode == "jwks" {
		f.want(t, "/users", unknown, 200) // the last good keys
		unknown = f.mint("unknown", "key-later")
	}
	// It may be that the keys were fetched just before.
	eventually(t, "who is new gets 503", func() bool {
		start := time.Now()
		status, header := f.status(t, "/users", unknown)
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("the answer took %v; Envoy waits for 5 s", took)
		}
		if status == 503 && header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
		return status == 503 || f.mode != "jwks"
	})
	if status, _ := f.status(t, "/users", unknown); status != 503 {
		t.Errorf("who is new got %d", status)
	}
	f.want(t, "/users", known, 200)

	f.idp.Handle(f.path, answers(f.idp, f.mode))
	eventually(t, "who is new is let in once the provider is well", func() bool {
		status, _ := f.status(t, "/users", unknown)
		if status != 200 && status != 503 && f.mode != "jwks" {
			t.Errorf("after the fault: %d", status)
		}
		return status == 200
	})
}

// TestUnreachableProviders: what can't be reached at all, from the start.
func TestUnreachableProviders(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tls.Close)
	tls.Config.ErrorLog = nil
	gone := httptest.NewServer(nil)
	gone.Close()
	var providers []any
	var issuers []string
	for _, url := range []string{tls.URL, "https://provider.invalid", gone.URL} {
		for _, mode := range []string{"jwks", "profile", "introspection"} {
			p := (&faulty{system: &system{idp: idp}, mode: mode, path: fmt.Sprintf("/%s-%d", mode, len(issuers)), issuer: url + "/" + mode}).config()
			p[mode].(map[string]any)["url"] = url + "/" + mode
			providers, issuers = append(providers, p), append(issuers, url+"/"+mode)
		}
	}
	s := serve(t, "--config", corpus.Configure(t, t.TempDir(), "introspection", idp, map[string]any{"providers": providers}, map[string]string{"policy.yaml": usersPolicy}))
	client := authv3.NewAuthorizationClient(dial(t, s.grpc))
	for _, issuer := range issuers {
		response, err := client.Check(t.Context(), check("/users", idp.Mint(map[string]any{"iss": issuer}, nil)))
		if status := response.GetDeniedResponse().GetStatus().GetCode(); err != nil || status != 503 {
			t.Errorf("%s: %v, %v", issuer, status, err)
		}
	}
	for _, says := range []string{"certificate", "no such host", "refused"} {
		eventually(t, "the log says "+says, func() bool { return strings.Count(s.stderr.String(), says) >= 3 })
	}
}

// TestRetryAfterIsHonoured: a provider that says when to come back is not asked before,
// and clients are told the same.
func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	s := start(t, "profile", nil)
	s.idp.Handle(tokentest.ProfilePath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	begin := time.Now()
	for i := range 150 { // more than one client may have validated: these cost him nothing
		status, header := s.status(t, "/users", s.user(fmt.Sprint("user", i%10)))
		if after := header.Get("Retry-After"); status != 503 || !slices.Contains([]string{"1", "2", "3"}, after) || i == 0 && after != "3" {
			t.Errorf("request %d got %d with Retry-After %q", i, status, after)
		}
	}
	if n := s.idp.Requests(tokentest.ProfilePath); n != 1 && time.Since(begin) < 3*time.Second {
		t.Errorf("the provider was asked %d times", n)
	}
	if page := s.page(t, "/readyz"); !strings.Contains(page, "provider idp: profile is asked seldom") || !strings.Contains(page, "answers 429") {
		t.Errorf("/readyz says %s", page)
	}
	metrics := s.page(t, "/metrics")
	for _, want := range []string{
		`scopeward_provider_up{endpoint="profile",provider="idp"} 0`, `scopeward_provider_skipped_total{endpoint="profile",provider="idp"} `,
		`scopeward_provider_request_duration_seconds_count{endpoint="profile",outcome="throttled",provider="idp"} `,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s:\n%s", want, grep(metrics, "scopeward_provider"))
		}
	}
	s.idp.Handle(tokentest.ProfilePath, nil)
	later := s.user("later")
	eventually(t, "it is asked again", func() bool { status, _ := s.status(t, "/users", later); return status == 200 })
	if early := time.Since(begin); early < 3*time.Second {
		t.Errorf("it was asked again after %v", early)
	}
}

// TestHangingProvider: a provider that hangs is asked by a bounded number of requests
// at a time, and soon by none; all are answered in time and nothing piles up.
func TestHangingProvider(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	s := &system{idp: idp, scopeward: serve(t, "--config", corpus.Configure(t, t.TempDir(), corpus.OpaqueProfile, idp, map[string]any{
		"rate_limit": map[string]any{"count": "off"},
	}, map[string]string{"policy.yaml": usersPolicy}))}
	idp.Opaque("known", map[string]any{"sub": "alice", "scope": "read:users"})
	client := authv3.NewAuthorizationClient(dial(t, s.grpc))
	status := func(token string) int32 {
		response, err := client.Check(t.Context(), check("/users", token))
		if err != nil {
			t.Error(err)
		}
		return int32(response.GetDeniedResponse().GetStatus().GetCode())
	}
	if got := status("known"); got != 0 {
		t.Fatalf("before: %d", got)
	}
	before := s.metric(t, "go_goroutines")
	idp.Fail(tokentest.ProfilePath, tokentest.Slow)
	defer idp.Release()
	for round := range 2 {
		var herd sync.WaitGroup
		for i := range 300 {
			herd.Go(func() {
				if got := status(fmt.Sprintf("new-%d-%d", round, i)); got != 503 {
					t.Errorf("who is new got %d", got)
				}
			})
		}
		herd.Wait()
		if got := status("known"); got != 0 {
			t.Errorf("who is known got %d", got)
		}
	}
	if n := idp.Requests(tokentest.ProfilePath); n > 1+256+10 {
		t.Errorf("the provider was asked %d times", n)
	}
	eventually(t, "the goroutines are gone", func() bool { return s.metric(t, "go_goroutines") < before+100 })
}

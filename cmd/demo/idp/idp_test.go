package idp_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"scopeward/cmd/demo/idp"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the library logs each refused request
	os.Exit(m.Run())
}

func serve(t *testing.T, dir, addr string) *idp.Server {
	t.Helper()
	s, err := idp.Serve(idp.Config{Dir: dir, Listen: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// do sends a request and returns status and body.
func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func get(t *testing.T, url, bearer string) (int, string) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return do(t, req)
}

func post(t *testing.T, u string, form url.Values, user, password string) (int, string) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, u, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	return do(t, req)
}

func object(t *testing.T, body string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return m
}

// config is the client's side of an issuer, by discovery.
func config(t *testing.T, issuer, client string, scopes ...string) *oauth2.Config {
	t.Helper()
	status, body := get(t, issuer+"/.well-known/openid-configuration", "")
	if status != http.StatusOK {
		t.Fatalf("discovery: %d %s", status, body)
	}
	d := object(t, body)
	if d["issuer"] != issuer {
		t.Fatalf("discovery names the issuer %v, want %s", d["issuer"], issuer)
	}
	return &oauth2.Config{ClientID: client, Scopes: scopes, Endpoint: oauth2.Endpoint{
		DeviceAuthURL: d["device_authorization_endpoint"].(string), TokenURL: d["token_endpoint"].(string), AuthStyle: oauth2.AuthStyleInParams}}
}

// token runs the device authorization flow of the client that is approved at once.
func token(t *testing.T, issuer string, scopes ...string) string {
	t.Helper()
	c := config(t, issuer, idp.AutoClient, scopes...)
	device, err := c.DeviceAuth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tok, err := c.DeviceAccessToken(t.Context(), device)
	if err != nil {
		t.Fatal(err)
	}
	return tok.AccessToken
}

// verify checks a JWT against the issuer's keys as a resource server would.
func verify(t *testing.T, issuer, raw string) (jwt.MapClaims, error) {
	t.Helper()
	keys, err := jwkset.NewDefaultHTTPClientCtx(t.Context(), []string{issuer + "/.well-known/jwks"})
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.MapClaims{}
	_, err = jwt.ParseWithClaims(raw, claims, func(tok *jwt.Token) (any, error) {
		k, err := keys.KeyRead(t.Context(), tok.Header["kid"].(string))
		if err != nil {
			return nil, err
		}
		return k.Key(), nil
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(issuer), jwt.WithAudience(idp.Audience), jwt.WithExpirationRequired())
	return claims, err
}

func TestDeviceFlowWithAPerson(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), "127.0.0.1:0")
	issuer := s.URL() + "/keys"
	for _, c := range []struct{ action, wantError string }{{"allow", ""}, {"deny", "access_denied"}} {
		t.Run(c.action, func(t *testing.T) {
			t.Parallel()
			client := config(t, issuer, idp.DeviceClient, "read:users", "no:such:scope")
			device, err := client.DeviceAuth(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			pending, body := post(t, client.Endpoint.TokenURL, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"},
				"client_id": {idp.DeviceClient}, "device_code": {device.DeviceCode}}, "", "")
			if pending != http.StatusBadRequest || object(t, body)["error"] != "authorization_pending" {
				t.Fatalf("before the person answered: %d %s", pending, body)
			}
			if status, page := get(t, device.VerificationURIComplete, ""); status != http.StatusOK || !strings.Contains(page, device.UserCode) {
				t.Fatalf("the page does not show the code: %d %s", status, page)
			}
			form := url.Values{"user_code": {strings.ToLower(device.UserCode)}, "action": {c.action}}
			if status, page := post(t, device.VerificationURI, form, "", ""); status != http.StatusOK {
				t.Fatalf("%d %s", status, page)
			}
			tok, err := client.DeviceAccessToken(t.Context(), device)
			if c.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantError) {
					t.Fatalf("got %v, want %s", err, c.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			claims, err := verify(t, issuer, tok.AccessToken)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"sub": idp.Subject, "client_id": idp.DeviceClient, "scp": []any{"read:users"}, "email": "john.snow@example.com"}
			for name, value := range want {
				if diff := cmp.Diff(value, claims[name]); diff != "" {
					t.Errorf("claim %s (-want +got):\n%s", name, diff)
				}
			}
			if life := time.Until(tok.Expiry); life < 59*time.Minute || life > time.Hour {
				t.Errorf("the token lives for %s", life)
			}
			// The code is single-use.
			if _, err := client.DeviceAccessToken(t.Context(), device); err == nil {
				t.Error("the device code was good twice")
			}
		})
	}
	if status, _ := post(t, issuer+"/device", url.Values{"user_code": {"AAAA-AAAA"}, "action": {"allow"}}, "", ""); status != http.StatusBadRequest {
		t.Errorf("an unknown code: %d", status)
	}
}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), "127.0.0.1:0")
	issuer := s.URL() + "/keys"
	c := clientcredentials.Config{ClientID: idp.MachineClient, ClientSecret: s.Secret(), TokenURL: issuer + "/oauth2/token", Scopes: []string{"read:users", "admin"}}
	tok, err := c.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	claims, err := verify(t, issuer, tok.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if claims["scope"] != "read:users admin" || claims["sub"] != nil {
		t.Errorf("claims %v", claims)
	}
	if status, _ := get(t, issuer+"/oauth2/v2/user_profile", tok.AccessToken); status != http.StatusForbidden {
		t.Errorf("the profile of a machine: %d", status)
	}
	c.ClientSecret = "wrong"
	if _, err := c.Token(t.Context()); err == nil {
		t.Error("a wrong secret was good")
	}
}

func TestProfile(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), "127.0.0.1:0")
	reference := map[string]any{
		"sub": "kp_c3143a4b50ad43c88e541d9077681782", "provided_id": "some_external_id", "name": "John Snow", "given_name": "John",
		"family_name": "Snow", "updated_at": float64(1612345678), "email": "john.snow@example.com", "email_verified": true,
		"picture": "https://example.com/john_snow.jpg", "preferred_username": "john_snow", "id": "kp_c3143a4b50ad43c88e541d9077681782",
	}
	issuer := s.URL() + "/profile"
	good := token(t, issuer, "read:users")
	status, body := get(t, issuer+"/oauth2/v2/user_profile", good)
	if diff := cmp.Diff(reference, object(t, body)); status != http.StatusOK || diff != "" {
		t.Errorf("%d (-want +got):\n%s", status, diff)
	}
	status, body = get(t, s.URL()+"/introspection/oauth2/v2/user_profile", token(t, s.URL()+"/introspection", "read:users", "admin"))
	if status != http.StatusOK || object(t, body)["scope"] != "read:users admin" {
		t.Errorf("opaque: %d %s", status, body)
	}

	expired, err := s.ExpiredToken(t.Context(), idp.Profile, []string{"read:users"})
	if err != nil {
		t.Fatal(err)
	}
	refusal := map[string]any{"error": "invalid_token", "error_description": "The access token is invalid or expired"}
	for name, bad := range map[string]string{"none": "", "garbage": "x", "expired": expired, "cut": good[:len(good)-9], "of another issuer": token(t, s.URL()+"/keys")} {
		status, body := get(t, issuer+"/oauth2/v2/user_profile", bad)
		if diff := cmp.Diff(refusal, object(t, body)); status != http.StatusForbidden || diff != "" {
			t.Errorf("%s: %d (-want +got):\n%s", name, status, diff)
		}
	}
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), "127.0.0.1:0")
	issuer := s.URL() + "/introspection"
	opaque := token(t, issuer, "read:users")
	if strings.Contains(opaque, ".") {
		t.Fatalf("the token looks like a JWT or a JWE")
	}
	introspect := func(tok, secret string) (int, string) {
		return post(t, issuer+"/oauth2/introspect", url.Values{"token": {tok}}, idp.MachineClient, secret)
	}
	status, body := introspect(opaque, s.Secret())
	got := object(t, body)
	for name, want := range map[string]any{"active": true, "sub": idp.Subject, "scope": "read:users", "client_id": idp.AutoClient, "iss": issuer} {
		if got[name] != want {
			t.Errorf("%d: %s is %v, want %v", status, name, got[name], want)
		}
	}
	if status, body := introspect("unknown", s.Secret()); status != http.StatusOK || object(t, body)["active"] != false {
		t.Errorf("an unknown token: %d %s", status, body)
	}
	if status, _ := introspect(opaque, "wrong"); status != http.StatusUnauthorized {
		t.Errorf("a wrong secret: %d", status)
	}
	if status, body := post(t, issuer+"/oauth2/revoke", url.Values{"token": {opaque}, "client_id": {idp.AutoClient}}, "", ""); status != http.StatusOK {
		t.Fatalf("revoke: %d %s", status, body)
	}
	if _, body := introspect(opaque, s.Secret()); object(t, body)["active"] != false {
		t.Errorf("a revoked token: %s", body)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), "127.0.0.1:0")
	issuer := s.URL() + "/keys"
	old := token(t, issuer, "read:users")
	if err := s.Rotate(); err != nil {
		t.Fatal(err)
	}
	young := token(t, issuer, "read:users")
	for name, tok := range map[string]string{"old": old, "young": young} {
		if _, err := verify(t, issuer, tok); err != nil {
			t.Errorf("after the rotation the %s token is not good: %v", name, err)
		}
	}
	if err := s.Drop(); err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, issuer, old); err == nil {
		t.Error("the token of a dropped key is good")
	}
	if _, err := verify(t, issuer, young); err != nil {
		t.Error(err)
	}
	if status, _ := get(t, issuer+"/.well-known/jwks.json", ""); status != http.StatusOK {
		t.Errorf("jwks.json: %d", status)
	}
	if status, _ := get(t, issuer+"/.well-known/jwks", young); status != http.StatusForbidden {
		t.Errorf("with an Authorization header: %d", status)
	}
	expired, err := s.ExpiredToken(t.Context(), idp.Keys, []string{"read:users"})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := verify(t, issuer, expired)
	if err == nil || !strings.Contains(err.Error(), "token is expired") || strings.Contains(err.Error(), "signature") {
		t.Errorf("got %v for %v", err, claims)
	}
}

func TestARestartedProviderKnowsItsTokens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, "127.0.0.1:0")
	jwtIssuer, opaqueIssuer := s.URL()+"/profile", s.URL()+"/introspection"
	tokens := map[string]string{jwtIssuer: token(t, jwtIssuer), opaqueIssuer: token(t, opaqueIssuer)}
	s.Close()
	serve(t, dir, strings.TrimPrefix(s.URL(), "http://"))
	for issuer, tok := range tokens {
		if status, body := get(t, issuer+"/oauth2/v2/user_profile", tok); status != http.StatusOK {
			t.Errorf("%s: %d %s", issuer, status, body)
		}
	}
	if _, err := verify(t, jwtIssuer, tokens[jwtIssuer]); err != nil {
		t.Error(err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), "127.0.0.1:0")
	control := httptest.NewServer(s.Control())
	defer control.Close()
	ask := func(action string) {
		t.Helper()
		if _, err := idp.Ask(t.Context(), control.URL, action); err != nil {
			t.Fatalf("%s: %v", action, err)
		}
	}
	jwks := s.URL() + "/keys/.well-known/jwks"
	for _, c := range []struct {
		fault  string
		status int
		body   string
	}{{"500", 500, "went wrong"}, {"429", 429, "too many"}, {"html", 200, "<!doctype html>"}, {"up", 200, `"keys"`}} {
		ask(c.fault)
		if status, body := get(t, jwks, ""); status != c.status || !strings.Contains(body, c.body) {
			t.Errorf("%s: %d %s", c.fault, status, body)
		}
	}

	ask("slow")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, jwks, nil)
	if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
		t.Errorf("slow: %s", res.Status)
	}

	for range 2 { // twice is fine
		ask("down")
	}
	req, _ = http.NewRequestWithContext(t.Context(), http.MethodGet, jwks, nil)
	if _, err := http.DefaultTransport.RoundTrip(req); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("down: %v", err)
	}
	ask("up")
	if status, _ := get(t, jwks, ""); status != http.StatusOK {
		t.Errorf("up again: %d", status)
	}
	if _, err := idp.Ask(t.Context(), control.URL, "explode"); err == nil || !strings.Contains(err.Error(), "there are: up, down, slow") {
		t.Errorf("an unknown fault: %v", err)
	}
	if tok, err := idp.Ask(t.Context(), control.URL, "expired"); err != nil || strings.Count(tok, ".") != 2 {
		t.Errorf("expired: %q %v", tok, err)
	}
}

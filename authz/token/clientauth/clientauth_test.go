package clientauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"scopeward/authz/token/clientauth"
	"scopeward/authz/token/provider"
	"scopeward/authz/token/signing"
)

func TestAdd(t *testing.T) {
	for _, c := range []struct {
		method, header, id, secret string
	}{
		// RFC 6749 §2.3.1: both are form-encoded.
		{clientauth.Basic, "Basic aHR0cHMlM0ElMkYlMkZhOnMlMkIlM0E=", "", ""},
		{clientauth.Post, "", "https://a", "s+:"},
		{clientauth.Bearer, "Bearer t", "", ""},
		{clientauth.None, "", "https://a", ""},
	} {
		a := clientauth.New(clientauth.Options{Method: c.method, ClientID: "https://a", Secret: "s+:", Token: "t"})
		header, form := http.Header{}, url.Values{}
		if err := a.Add(t.Context(), header, form); err != nil {
			t.Fatal(err)
		}
		if header.Get("Authorization") != c.header || form.Get("client_id") != c.id || form.Get("client_secret") != c.secret {
			t.Errorf("%s: %v %v", c.method, header, form)
		}
	}
	if err := clientauth.New(clientauth.Options{Method: "magic"}).Add(t.Context(), http.Header{}, url.Values{}); err == nil {
		t.Error("an unknown method is no error")
	}
}

func TestPrivateKey(t *testing.T) {
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	for alg, key := range map[string]crypto.Signer{"RS256": rsaKey, "ES256": ecKey, "EdDSA": edKey} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := signing.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		if err != nil {
			t.Fatal(err)
		}
		form := url.Values{}
		a := clientauth.New(clientauth.Options{Method: clientauth.PrivateKey, ClientID: "me", Key: parsed, Issuer: "https://idp"})
		if err := a.Add(t.Context(), http.Header{}, form); err != nil {
			t.Fatal(err)
		}
		_, err = jwt.Parse(form.Get("client_assertion"), func(*jwt.Token) (any, error) { return key.Public(), nil },
			jwt.WithValidMethods([]string{alg}), jwt.WithIssuer("me"), jwt.WithSubject("me"), jwt.WithAudience("https://idp"), jwt.WithExpirationRequired())
		if err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
	if _, err := signing.ParseKey([]byte("no key")); err == nil {
		t.Error("no key is no error")
	}
}

// TestCredentials: a token of our own is used until shortly before its end, or until it is
// refused.
func TestCredentials(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		id, secret, _ := r.BasicAuth()
		if id != "me" || secret != "secret" || r.PostFormValue("audience") != "api" || r.PostFormValue("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		fmt.Fprintf(w, `{"access_token":"t%d","expires_in":100}`, asked)
	}))
	defer server.Close()
	now := time.Now()
	opts := clientauth.Options{
		Method: clientauth.Credentials, ClientID: "me", Secret: "secret", TokenURL: server.URL, Audience: "api",
		Client: provider.New(provider.Options{}), Now: func() time.Time { return now },
	}
	a := clientauth.New(opts)
	want := func(token string) {
		t.Helper()
		header := http.Header{}
		if err := a.Add(t.Context(), header, url.Values{}); err != nil || header.Get("Authorization") != "Bearer "+token {
			t.Errorf("%v, %v, want %s", header, err, token)
		}
	}
	want("t1")
	now = now.Add(80 * time.Second)
	want("t1")
	now = now.Add(15 * time.Second)
	want("t2")
	a.Refused()
	want("t3")
	opts.Secret = "wrong"
	if err := clientauth.New(opts).Add(t.Context(), http.Header{}, url.Values{}); err == nil {
		t.Error("a refused client is no error")
	}
}

package provider_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"scopeward/authz/token"
	"scopeward/authz/token/provider"
	"scopeward/internal/testenv/tokentest"
)

const canary = "canary-token"

func get(t *testing.T, c *provider.Client, url string) (*provider.Response, error) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+canary)
	return c.Do(t.Context(), req)
}

func mustBeUnavailable(t *testing.T, err error) *token.UnavailableError {
	t.Helper()
	var unavailable *token.UnavailableError
	if !errors.As(err, &unavailable) {
		t.Fatalf("got %v, want *token.UnavailableError", err)
	}
	if strings.Contains(err.Error(), canary) {
		t.Errorf("the error contains the token: %v", err)
	}
	return unavailable
}

func TestFaultsAreUnavailable(t *testing.T) {
	idp := tokentest.New(t)
	for _, fault := range []tokentest.Fault{
		tokentest.Down, tokentest.Truncated, tokentest.Huge, tokentest.Redirect, tokentest.Slow, tokentest.Drip,
	} {
		idp.Fail("", fault)
		client := provider.New(provider.Options{Timeout: 300 * time.Millisecond})
		_, err := get(t, client, idp.URL+"/x?q="+canary)
		mustBeUnavailable(t, err)
		idp.Release()
	}
	if n := idp.Elsewhere(); n != 0 {
		t.Errorf("a redirect to another host was followed %d times", n)
	}
}

func TestUnreachable(t *testing.T) {
	client := provider.New(provider.Options{})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	defer untrusted.Close()
	untrusted.Config.ErrorLog = nil
	for _, url := range []string{
		"http://" + closed.Addr().String() + "/?" + canary,
		"http://does-not-exist.invalid/?" + canary,
		untrusted.URL + "/?" + canary,
		"gopher://" + closed.Addr().String() + "/" + canary,
	} {
		_, err := get(t, client, url)
		t.Log(mustBeUnavailable(t, err))
	}
}

// A provider that is no HTTP server may send back what it was sent.
func TestBrokenHTTPIsNotQuoted(t *testing.T) {
	for _, answer := range []string{
		canary + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://%zz" + canary + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + canary,
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, answer)
		})
		_, err = get(t, provider.New(provider.Options{}), "http://"+listener.Addr().String()+"/")
		mustBeUnavailable(t, err)
		listener.Close()
		wg.Wait()
	}
}

func TestRedirects(t *testing.T) {
	idp := tokentest.New(t)
	client := provider.New(provider.Options{})
	idp.Handle("/old", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/new", http.StatusFound) })
	idp.Handle("/new", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("Authorization")) })
	idp.Handle("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	resp, err := get(t, client, idp.URL+"/old")
	if err != nil || string(resp.Body) != "Bearer "+canary {
		t.Errorf("within the origin: got %+v, %v", resp, err)
	}
	_, err = get(t, client, idp.URL+"/loop")
	mustBeUnavailable(t, err)
	if n := idp.Requests("/loop"); n > 5 {
		t.Errorf("%d requests in a loop", n)
	}
}

func TestBodyBound(t *testing.T) {
	idp := tokentest.New(t)
	client := provider.New(provider.Options{})
	for size, good := range map[int]bool{0: true, provider.MaxBody: true, provider.MaxBody + 1: false} {
		idp.Handle("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", size)) })
		resp, err := get(t, client, idp.URL+"/")
		if (err == nil) != good || good && len(resp.Body) != size {
			t.Errorf("%d bytes: got %v", size, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	idp := tokentest.New(t)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-7": 0, "1.5": 0, "soon": 0, "2147483647": provider.MaxRetryAfter,
		"99999999999999999999":                            0,
		now.Add(time.Minute).Format(http.TimeFormat):      time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat):     0,
		now.Add(1000 * time.Hour).Format(http.TimeFormat): provider.MaxRetryAfter,
	} {
		idp.Handle("/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		client := provider.New(provider.Options{Now: func() time.Time { return now }})
		resp, err := get(t, client, idp.URL+"/")
		if err != nil || resp.RetryAfter != want || resp.Unavailable("x").RetryAfter != want {
			t.Errorf("%q: got %+v, %v, want %v", value, resp, err, want)
		}
	}
}

func TestTooManyInFlight(t *testing.T) {
	idp := tokentest.New(t)
	client := provider.New(provider.Options{MaxInFlight: 1, Timeout: time.Minute})
	arrived, release := make(chan struct{}), make(chan struct{})
	idp.Handle("/", func(http.ResponseWriter, *http.Request) { close(arrived); <-release })
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = get(t, client, idp.URL+"/") })
	<-arrived
	_, err := get(t, client, idp.URL+"/other")
	if mustBeUnavailable(t, err).RetryAfter == 0 {
		t.Error("no Retry-After")
	}
	close(release)
	wg.Wait()
	if _, err := get(t, client, idp.URL+"/other"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestCallerLeaves(t *testing.T) {
	idp := tokentest.New(t)
	idp.Fail("", tokentest.Slow)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, err := http.NewRequest(http.MethodGet, idp.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = provider.New(provider.Options{}).Do(ctx, req)
	if mustBeUnavailable(t, err); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNoCookies(t *testing.T) {
	idp := tokentest.New(t)
	idp.Handle("/", func(w http.ResponseWriter, r *http.Request) {
		if len(r.Cookies()) > 0 {
			t.Error("a cookie came back")
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
	})
	client := provider.New(provider.Options{})
	for range 2 {
		if _, err := get(t, client, idp.URL+"/"); err != nil {
			t.Fatal(err)
		}
	}
}

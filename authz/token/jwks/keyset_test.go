package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scopeward/authz/token"
	"scopeward/authz/token/jwks"
	"scopeward/authz/token/provider"
	"scopeward/internal/testenv/tokentest"
)

// clock is a clock that tests turn.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Now().UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) Advance(d time.Duration) { c.nanos.Add(int64(d)) }

// fixture is a provider with a verifier whose clock can be turned; tokens live
// for a week.
type fixture struct {
	*tokentest.Provider
	*clock
	verifier *jwks.Verifier
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{Provider: tokentest.New(t), clock: newClock()}
	f.verifier = newVerifier(f.Provider)
	f.verifier.Rules.Now = f.Now
	f.verifier.Rules.ClockSkew = time.Minute // the clock stands still while tokens are minted
	f.verifier.Keys = jwks.New(jwks.Options{
		URL: f.URL + tokentest.KeysPath, Now: f.Now,
		Client: provider.New(provider.Options{Timeout: 2 * time.Second, Now: f.Now}),
	})
	return f
}

func (f *fixture) mint() string {
	return f.Mint(map[string]any{"exp": time.Now().Add(7 * 24 * time.Hour).Unix()}, nil)
}

// verify says in a word what became of a token.
func (f *fixture) verify(t *testing.T, raw string) string {
	t.Helper()
	id, err := f.verifier.Verify(t.Context(), token.Parse(raw))
	var invalid *token.InvalidError
	var unavailable *token.UnavailableError
	switch {
	case err == nil && id != nil:
		return "valid"
	case errors.As(err, &invalid) && invalid.NoCache:
		return "invalid for now"
	case errors.As(err, &invalid):
		return "invalid"
	case errors.As(err, &unavailable):
		if unavailable.RetryAfter < time.Second || unavailable.RetryAfter > 10*time.Second {
			t.Errorf("RetryAfter is %v", unavailable.RetryAfter)
		}
		return "unavailable"
	default:
		t.Errorf("got %v, %v", id, err)
		return ""
	}
}

func (f *fixture) want(t *testing.T, step, raw, want string, fetches int) {
	t.Helper()
	if got := f.verify(t, raw); got != want {
		t.Errorf("%s: %s, want %s", step, got, want)
	}
	if n := f.Requests(tokentest.KeysPath); n != fetches {
		t.Errorf("%s: %d fetches, want %d", step, n, fetches)
	}
}

func TestUnknownKidFetchesAtMostEvery10Seconds(t *testing.T) {
	f := newFixture(t)
	f.want(t, "first token", f.mint(), "valid", 1)
	f.Rotate()
	rotated := f.mint()
	unknown := f.Mint(nil, map[string]any{"kid": "unknown"})
	f.want(t, "new key within 10 s", rotated, "unavailable", 1)
	f.Advance(10*time.Second - 1)
	f.want(t, "new key just within 10 s", rotated, "unavailable", 1)
	f.Advance(1)
	f.want(t, "new key after 10 s", rotated, "valid", 2)
	f.want(t, "unknown kid within 10 s", unknown, "unavailable", 2)
	f.Advance(10 * time.Second)
	f.want(t, "unknown kid after a good fetch", unknown, "invalid", 3)
	f.want(t, "known kids need no fetch", rotated, "valid", 3)
}

func TestDroppedKeyStopsWithTheNextGoodFetch(t *testing.T) {
	f := newFixture(t)
	old := f.mint()
	f.want(t, "before", old, "valid", 1)
	f.Rotate()
	f.Drop()
	f.want(t, "not known yet", old, "valid", 1)
	f.Advance(10 * time.Second)
	f.want(t, "the new key", f.mint(), "valid", 2)
	f.Advance(10 * time.Second)
	f.want(t, "the old one", old, "invalid", 3)
}

func TestLastGoodSetServesThroughFaults(t *testing.T) {
	for _, fault := range []tokentest.Fault{
		tokentest.Down, tokentest.Error, tokentest.TooMany, tokentest.HTML, tokentest.Empty,
		tokentest.Truncated, tokentest.Huge, tokentest.Deep, tokentest.Redirect,
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			known := f.mint()
			f.want(t, "before", known, "valid", 1)
			f.Fail("", fault)
			f.Rotate()
			rotated := f.mint()
			f.Advance(10 * time.Second)
			if got := f.verify(t, rotated); got != "unavailable" {
				t.Errorf("a new kid: %s", got)
			}
			if got := f.verify(t, rotated); got != "unavailable" {
				t.Errorf("a new kid without a fetch: %s", got)
			}
			f.Advance(24*time.Hour - 10*time.Second)
			if got := f.verify(t, known); got != "valid" {
				t.Errorf("the known key: %s", got)
			}
			f.Advance(time.Second)
			if got := f.verify(t, known); got != "unavailable" {
				t.Errorf("the known key after max_stale: %s", got)
			}
			if tried, reason := f.verifier.Keys.Ready(); !tried || reason == "" {
				t.Errorf("Ready: %v, %q", tried, reason)
			}
			if n := f.Elsewhere(); n != 0 {
				t.Error("followed the redirect")
			}
			f.Fail("", "")
			f.Advance(10 * time.Second)
			if got := f.verify(t, rotated); got != "valid" {
				t.Errorf("recovery: %s", got)
			}
		})
	}
}

func TestBadSetsAreFailedFetches(t *testing.T) {
	for _, document := range []string{
		`{}`, `{"keys":null}`, `{"keys":{}}`, `{"keys":"x"}`, `[]`, `null`, `7`, `"x"`, `{"KEYS":[]}`,
		`{"keys":[{"kty":"oct","k":"AA"},{"kty":"XYZ"}]}`,
		`{"keys":[]}{"keys":[]}`, `{"keys":[],}`, `{"keys":[`, "\x00", "not json",
		`{"error":"temporarily_unavailable"}`,
	} {
		f := newFixture(t)
		known := f.mint()
		f.want(t, "before", known, "valid", 1)
		f.Publish(document)
		f.Advance(10 * time.Second)
		unknown := f.Mint(nil, map[string]any{"kid": "unknown"})
		if got := f.verify(t, unknown); got != "unavailable" {
			t.Errorf("%s: an unknown kid: %s", document, got)
		}
		if got := f.verify(t, known); got != "valid" {
			t.Errorf("%s: the last good set: %s", document, got)
		}
	}
}

// A good answer that disqualifies a key withdraws it, if no other key is left as well.
func TestKeysAreWithdrawn(t *testing.T) {
	for name, change := range map[string]func(jwks string) string{
		"an empty set":          func(string) string { return `{"keys":[]}` },
		"for encryption":        func(jwks string) string { return strings.ReplaceAll(jwks, `"use":"sig"`, `"use":"enc"`) },
		"for encryption, other": func(jwks string) string { return strings.ReplaceAll(jwks, `"kty"`, `"key_ops":["encrypt"],"kty"`) },
		"its private part":      func(jwks string) string { return strings.ReplaceAll(jwks, `"kty"`, `"d":"AQAB","kty"`) },
		"of an algorithm that is not accepted": func(jwks string) string {
			return strings.ReplaceAll(strings.ReplaceAll(jwks, `"alg":"RS256",`, ""), `"kty"`, `"alg":"HS256","kty"`)
		},
		"and a broken one": func(jwks string) string {
			return strings.Replace(strings.ReplaceAll(jwks, `"use":"sig"`, `"use":"enc"`), `[`, `[{"kty":"RSA","n":"!","e":"AQAB"},`, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			id, err := f.verifier.Verify(t.Context(), token.Parse(f.mint()))
			if err != nil {
				t.Fatal(err)
			}
			good := f.JWKS()
			if f.Publish(change(good)); change(good) == good {
				t.Fatalf("nothing changed: %s", good)
			}
			f.Advance(10 * time.Second)
			f.want(t, "an unknown kid has them fetched", f.Mint(nil, map[string]any{"kid": "unknown"}), "invalid", 2)
			if f.verifier.HasKey(id.KeyID) {
				t.Error("cached identities go on")
			}
			if got := f.verify(t, f.mint()); got != "unavailable" { // within 10 s
				t.Errorf("a new token of the old key: %s", got)
			}
			f.Advance(10 * time.Second)
			f.want(t, "a new token of the old key later", f.mint(), "invalid", 3)
			if tried, reason := f.verifier.Keys.Ready(); !tried || reason == "" {
				t.Errorf("Ready: %v, %q", tried, reason)
			}
			f.Publish(good)
			f.Advance(10 * time.Second)
			f.want(t, "afterwards", f.mint(), "valid", 4)
		})
	}
}

func TestUnknownKidIsCharged(t *testing.T) {
	f := newFixture(t)
	f.want(t, "first token", f.mint(), "valid", 1)
	f.Rotate()
	_, err := f.verifier.Verify(t.Context(), token.Parse(f.mint()))
	if unavailable, ok := errors.AsType[*token.UnavailableError](err); !ok || !unavailable.Charged || unavailable.RetryAfter <= 0 || unavailable.RetryAfter > 10*time.Second {
		t.Errorf("got %#v", err)
	}
}

// Two "keys" members could be read differently by two parties.
func TestRepeatedKeysMember(t *testing.T) {
	f := newFixture(t)
	own := strings.Trim(f.JWKS(), "{}")
	for i, document := range []string{`{` + own + `,"keys":[]}`, `{"keys":[],` + own + `}`, `{` + own + `,` + own + `}`} {
		f.Publish(document)
		f.want(t, "repeated", f.mint(), "unavailable", i+1)
		f.Advance(10 * time.Second)
	}
}

// The answer to an older fetch must not bring back what a newer one dropped.
func TestAnswersAreTakenInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const newKey = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"new","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
		held := make(chan struct{})
		s := jwks.New(jwks.Options{URL: "https://idp.test/jwks", Client: provider.New(provider.Options{
			Transport: roundTripper(func(n int) string {
				if n == 1 {
					<-held
					return anyKey
				}
				return newKey
			}),
		})})
		v := jwks.Verifier{Keys: s, Rules: token.Rules{Issuer: "https://idp.test", AnyAudience: true}, Algorithms: allAlgorithms}
		raw := tokentest.Compact(`{"alg":"EdDSA","kid":"new"}`, `{"iss":"https://idp.test","exp":9999999999}`, func(string) []byte { return make([]byte, 64) })
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		synctest.Wait()
		go func() { _, _ = v.Verify(t.Context(), token.Parse(raw)) }()
		synctest.Wait()
		close(held)
		synctest.Wait()
		// A key that is there gives a wrong signature; one that is not, an unknown kid.
		if _, err := v.Verify(t.Context(), token.Parse(raw)); err == nil || !strings.Contains(err.Error(), "signature") {
			t.Errorf("the newer set is gone: %v", err)
		}
		cancel()
		synctest.Wait()
	})
}

// roundTripper answers the n-th request in memory, several at a time.
func roundTripper(answer func(n int) string) http.RoundTripper {
	return &concurrent{answer: answer}
}

type concurrent struct {
	n      atomic.Int64
	answer func(n int) string
}

func (c *concurrent) RoundTrip(req *http.Request) (*http.Response, error) {
	body := c.answer(int(c.n.Add(1)))
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

func TestNeverAnswered(t *testing.T) {
	f := newFixture(t)
	f.Fail("", tokentest.Down)
	if tried, reason := f.verifier.Keys.Ready(); tried || reason == "" {
		t.Errorf("Ready before: %v, %q", tried, reason)
	}
	if _, ok := f.verifier.Keys.Age(); ok {
		t.Error("an age without keys")
	}
	raw := f.mint()
	for range 3 {
		if got := f.verify(t, raw); got != "unavailable" {
			t.Errorf("got %s", got)
		}
	}
	if n := f.Requests(tokentest.KeysPath); n > 2 { // net/http repeats a request once on a connection that was closed
		t.Errorf("%d fetches", n)
	}
	if got := f.verify(t, f.Mint(map[string]any{"exp": 1}, nil)); got != "invalid" {
		t.Errorf("an expired token: %s", got)
	}
	f.Fail("", "")
	f.Advance(10 * time.Second)
	if got := f.verify(t, raw); got != "valid" {
		t.Errorf("recovery: %s", got)
	}
	if tried, reason := f.verifier.Keys.Ready(); !tried || reason != "" {
		t.Errorf("Ready after: %v, %q", tried, reason)
	}
	f.Advance(time.Minute)
	if age, ok := f.verifier.Keys.Age(); !ok || age != time.Minute {
		t.Errorf("Age: %v, %v", age, ok)
	}
}

func TestConcurrentUnknownKidsShareOneFetch(t *testing.T) {
	f := newFixture(t)
	f.Fail("", tokentest.Slow)
	raw := f.mint()
	got := make(chan string, 100)
	for range 100 {
		go func() { got <- f.verify(t, raw) }()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var unavailable *token.UnavailableError
	if _, err := f.verifier.Verify(ctx, token.Parse(raw)); !errors.As(err, &unavailable) {
		t.Errorf("one that leaves early: %v", err)
	}
	f.Fail("", "") // a request that arrives only now is not held either
	f.Release()
	for range 100 {
		if s := <-got; s != "valid" {
			t.Errorf("got %s", s)
		}
	}
	if n := f.Requests(tokentest.KeysPath); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestKidFloodIsOneFetch(t *testing.T) {
	f := newFixture(t)
	known := f.mint()
	f.want(t, "before", known, "valid", 1)
	f.Advance(10 * time.Second)
	for i := range 200 {
		f.verify(t, f.Mint(nil, map[string]any{"kid": strings.Repeat("x", i+1)}))
	}
	f.want(t, "after", known, "valid", 2)
}

func TestKeysFromAFile(t *testing.T) {
	f := newFixture(t)
	name := filepath.Join(t.TempDir(), "jwks.json")
	f.verifier.Keys = jwks.New(jwks.Options{File: name, Now: f.Now})
	raw := f.mint()
	f.want(t, "no file", raw, "unavailable", 0)
	write := func(s string) {
		if err := os.WriteFile(name, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(f.JWKS())
	f.Advance(10 * time.Second)
	f.want(t, "the file is there", raw, "valid", 0)
	write(f.JWKS() + strings.Repeat(" ", provider.MaxBody))
	f.Rotate()
	f.Advance(10 * time.Second)
	f.want(t, "too large", f.mint(), "unavailable", 0)
	f.want(t, "the last good set", raw, "valid", 0)
}

// transport answers in memory, so that a test can run in a bubble.
type transport struct {
	mu     sync.Mutex
	at     []time.Duration
	start  time.Time
	answer func(n int) (status int, header http.Header, body string)
}

func (tr *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.at = append(tr.at, time.Since(tr.start))
	status, header, body := tr.answer(len(tr.at))
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

// run lets Run fetch for a time and returns when it did.
func run(t *testing.T, d time.Duration, answer func(n int) (int, http.Header, string)) (at []time.Duration, log string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		tr := &transport{start: time.Now(), answer: answer}
		s := jwks.New(jwks.Options{
			URL:    "https://idp.test/jwks",
			Client: provider.New(provider.Options{Transport: tr}),
			Logger: slog.New(slog.NewTextHandler(&out, nil)),
		})
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		s.Run(ctx)
		at, log = tr.at, out.String()
	})
	return at, log
}

const anyKey = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"XYZ"}]}`

func TestRunRefreshes(t *testing.T) {
	at, log := run(t, time.Hour, func(int) (int, http.Header, string) { return 200, nil, anyKey })
	if len(at) != 4 {
		t.Fatalf("fetches at %v", at)
	}
	for i, d := range at[1:] {
		if gap := d - at[i]; gap < 15*time.Minute || gap > 17*time.Minute {
			t.Errorf("fetches at %v", at)
		}
	}
	// Said once, not every quarter of an hour.
	if strings.Count(log, "fetched") != 1 || strings.Count(log, "not used") != 1 {
		t.Errorf("log: %s", log)
	}
}

func TestRunBacksOff(t *testing.T) {
	at, log := run(t, 10*time.Minute, func(n int) (int, http.Header, string) {
		if n < 10 {
			return 500, nil, "canary"
		}
		return 200, nil, anyKey
	})
	var jitter time.Duration
	for i, least := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		least *= time.Second
		jitter += at[i+1] - at[i] - least
		if gap := at[i+1] - at[i]; gap < least || gap > least+least/10+1 {
			t.Errorf("wait %d was %v, want about %v", i+1, gap, least)
		}
	}
	if len(at) != 10 || jitter == 0 {
		t.Errorf("fetches at %v, all exactly when expected: %t", at, jitter == 0)
	}
	if strings.Contains(log, "canary") || strings.Count(log, "cannot fetch") != 9 {
		t.Errorf("log: %s", log)
	}
}

func TestRunHonoursRetryAfter(t *testing.T) {
	at, _ := run(t, 59*time.Second, func(int) (int, http.Header, string) {
		return 429, http.Header{"Retry-After": {"20"}}, ""
	})
	if len(at) != 3 || at[1] != 20*time.Second {
		t.Errorf("fetches at %v", at)
	}
}

// A background fetch does not use up the fetch for an unknown kid.
func TestBackgroundFetchLeavesTheAllowance(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { f.verifier.Keys.Run(ctx) })
	for tried := false; !tried && t.Context().Err() == nil; {
		tried, _ = f.verifier.Keys.Ready()
	}
	f.Rotate()
	if got := f.verify(t, f.mint()); got != "valid" {
		t.Errorf("a key that was published right after the background fetch: %s", got)
	}
	cancel()
	wg.Wait()
}

func TestStoppingIsNoFailure(t *testing.T) {
	f := newFixture(t)
	f.Fail("", tokentest.Slow)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { f.verifier.Keys.Run(ctx) })
	cancel()
	wg.Wait()
	if tried, _ := f.verifier.Keys.Ready(); tried {
		t.Error("a fetch that was stopped counts as tried")
	}
}

// What a document is decides, not what it is called: providers serve keys as text and as
// octets, and faulty ones web pages as JSON.
func TestContentTypeDoesNotCount(t *testing.T) {
	for name, c := range map[string]struct{ contentType, body, want string }{
		"keys as text":       {"text/plain", "", "valid"},
		"keys as a web page": {"text/html; charset=utf-8", "", "valid"},
		"keys as anything":   {"", "", "valid"},
		"a web page as JSON": {"application/json", "<!doctype html><title>Sign in</title>", "unavailable"},
		"text as a key set":  {"application/jwk-set+json", "keys", "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if c.body == "" {
				c.body = f.JWKS()
			}
			f.Handle(tokentest.KeysPath, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{c.contentType}
				_, _ = io.WriteString(w, c.body)
			})
			f.want(t, "a good token", f.mint(), c.want, 1)
		})
	}
}

func FuzzJWKS(f *testing.F) {
	f.Add(anyKey)
	f.Add(`{"keys":[]}`)
	f.Add(`{"keys":[{"kty":"RSA","n":"` + strings.Repeat("A", 342) + `","e":"AQAB","alg":"RS256","use":"sig","kid":"a"}]}`)
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},null,7,{"kty":"oct","k":"AA"}],"keys":1}`)
	f.Add(`{"x":{"a":1,"a":2},"keys":[{"kty":"OKP","crv":"X25519","x":"AA"}]}`)
	f.Fuzz(func(t *testing.T, document string) {
		tr := &transport{answer: func(int) (int, http.Header, string) { return 200, nil, document }}
		v := jwks.Verifier{
			Keys:       jwks.New(jwks.Options{URL: "https://idp.test/jwks", Client: provider.New(provider.Options{Transport: tr})}),
			Rules:      token.Rules{Issuer: "https://idp.test", AnyAudience: true},
			Algorithms: allAlgorithms,
		}
		for _, alg := range allAlgorithms {
			header := `{"alg":"` + alg + `"}`
			raw := tokentest.Compact(header, `{"iss":"https://idp.test","exp":9999999999}`, func(string) []byte { return make([]byte, 64) })
			if id, err := v.Verify(t.Context(), token.Parse(raw)); err == nil {
				t.Fatalf("%s: a signature of zeros gave %v", alg, id)
			}
		}
	})
}

// A key for encryption beside good ones is normal; one that can't be used is not.
func TestKeysOfAnotherUseAreNoWarning(t *testing.T) {
	for member, warned := range map[string]bool{`"use":"enc"`: false, `"key_ops":["encrypt"]`: false, `"use":"sig","n":"!"`: true, `"d":"AQAB"`: true} {
		idp := tokentest.New(t)
		idp.Publish(strings.Replace(idp.JWKS(), "[", `[{"kty":"RSA","e":"AQAB",`+member+`},`, 1))
		var log strings.Builder
		keys := jwks.New(jwks.Options{URL: idp.URL + tokentest.KeysPath, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		v := &jwks.Verifier{Keys: keys, Rules: token.Rules{Issuer: idp.URL, AnyAudience: true}, Algorithms: []string{"RS256"}}
		if _, err := v.Verify(t.Context(), token.Parse(idp.Mint(nil, nil))); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(log.String(), "WARN") != warned {
			t.Errorf("%s: %s", member, log.String())
		}
	}
}

// The keys' URL that is not there is named, with its setting, and the provider is not up.
func TestKeysAreNotThere(t *testing.T) {
	idp := tokentest.New(t)
	client := provider.New(provider.Options{})
	keys := jwks.New(jwks.Options{URL: idp.URL + "/nowhere", Client: client})
	v := &jwks.Verifier{Keys: keys, Rules: token.Rules{Issuer: idp.URL, AnyAudience: true}, Algorithms: []string{"RS256"}}
	_, err := v.Verify(t.Context(), token.Parse(idp.Mint(nil, nil)))
	_, reason := keys.Ready()
	for what, text := range map[string]string{"the error": fmt.Sprint(err), "Ready": reason} {
		if !strings.Contains(text, idp.URL+"/nowhere") || !strings.Contains(text, "jwks.url") {
			t.Errorf("%s: %s", what, text)
		}
	}
	if up, _ := client.State(); up {
		t.Error("the provider is up")
	}
}

package token_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scopeward/authz/token"
)

// verifier answers as told and counts.
type verifier struct {
	calls  atomic.Int64
	answer func(ctx context.Context, raw string) (*token.Identity, error)
	keys   func(id string) bool
}

func (v *verifier) Verify(ctx context.Context, t *token.Token) (*token.Identity, error) {
	v.calls.Add(1)
	return v.answer(ctx, t.Raw)
}

func (v *verifier) HasKey(id string) bool { return v.keys == nil || v.keys(id) }

// immediate is a verifier that never waits.
type immediate struct{ *verifier }

func (immediate) Immediate(*token.Token) bool { return true }

// bothWays runs a test with the work done in a goroutine of its own, and in that of a caller.
func bothWays(t *testing.T, test func(t *testing.T, options func(*verifier) token.Options)) {
	t.Run("waiting", func(t *testing.T) { test(t, func(v *verifier) token.Options { return opaque(v) }) })
	t.Run("inline", func(t *testing.T) {
		test(t, func(v *verifier) token.Options {
			opts := opaque(immediate{v})
			opts.Inline = true
			return opts
		})
	})
}

func alice(context.Context, string) (*token.Identity, error) {
	return &token.Identity{Subject: "alice"}, nil
}

func answering(id *token.Identity, err error) *verifier {
	return &verifier{answer: func(context.Context, string) (*token.Identity, error) { return id, err }}
}

func opaque(v token.Verifier) token.Options {
	return token.Options{Providers: []token.Provider{{Name: "idp", Issuer: "https://idp.test", Tokens: token.Any, Verifier: v}}}
}

// admitAll admits all, as nil does.
var admitAll = charging(func() error { return nil })

// charging is a client whose admission is answered by charge, whatever is asked.
func charging(charge func() error) *token.Admission {
	return &token.Admission{Peek: charge, Charge: func(context.Context) error { return charge() }}
}

func TestAnswersAreCached(t *testing.T) {
	unavailable := &token.UnavailableError{Reason: "down"}
	for name, c := range map[string]struct {
		id    *token.Identity
		err   error
		after time.Duration
		calls int64
	}{
		"valid":                    {&token.Identity{}, nil, 5*time.Minute - 1, 1},
		"valid, at the end":        {&token.Identity{}, nil, 5 * time.Minute, 2},
		"invalid":                  {nil, token.Invalidf("bad"), 10*time.Second - 1, 1},
		"invalid, at the end":      {nil, token.Invalidf("bad"), 10 * time.Second, 2},
		"invalid, wrapped":         {nil, fmt.Errorf("w: %w", token.Invalidf("bad")), time.Second, 1},
		"invalid for now":          {nil, &token.InvalidError{NoCache: true}, 0, 2},
		"unavailable":              {nil, unavailable, 0, 2},
		"unknown error":            {nil, errors.New("?"), 0, 2},
		"no answer":                {nil, nil, 0, 2},
		"invalid with an identity": {&token.Identity{}, token.Invalidf("bad"), time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := answering(c.id, c.err)
				validator := token.NewValidator(opaque(v))
				first, err1 := validator.Validate(t.Context(), "x", admitAll)
				time.Sleep(c.after)
				second, err2 := validator.Validate(t.Context(), "x", charging(func() error {
					if c.calls == 1 {
						t.Error("asked for admission for a cached answer")
					}
					return nil
				}))
				if (err1 == nil) != (err2 == nil) || (first.Identity == nil) != (err1 != nil) || (second.Identity == nil) != (err2 != nil) {
					t.Errorf("got %+v, %v, then %+v, %v", first, err1, second, err2)
				}
				wantCache := map[int64]string{1: token.CacheHit, 2: token.CacheMiss}[c.calls]
				if n := v.calls.Load(); n != c.calls || second.Cache != wantCache || second.Provider != "idp" {
					t.Errorf("%d verifications, %+v; want %d, %s", n, second, c.calls, wantCache)
				}
			})
		})
	}
}

func TestIdentityIsNeverCachedBeyondItsExpiry(t *testing.T) {
	for _, left := range []time.Duration{-time.Second, 0, time.Nanosecond, time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			end := time.Now().Add(left)
			v := answering(&token.Identity{Expiry: end}, nil)
			opts := opaque(v)
			opts.TTL = 24 * time.Hour
			validator := token.NewValidator(opts)
			_, _ = validator.Validate(t.Context(), "x", admitAll)
			if left > 1 {
				time.Sleep(left - 1)
				if r, _ := validator.Validate(t.Context(), "x", admitAll); r.Cache != token.CacheHit {
					t.Errorf("%v left: not cached until the end", left)
				}
			}
			time.Sleep(time.Until(end))
			if r, _ := validator.Validate(t.Context(), "x", admitAll); r.Cache != token.CacheMiss {
				t.Errorf("%v left: used from the cache after its end", left)
			}
		})
	}
}

func TestClockSetBackDoesNotLengthenAnIdentity(t *testing.T) {
	clock := now
	v := answering(&token.Identity{Expiry: now.Add(time.Minute)}, nil)
	opts := opaque(v)
	opts.Now = func() time.Time { return clock }
	validator := token.NewValidator(opts)
	_, _ = validator.Validate(t.Context(), "x", admitAll)
	clock = now.Add(time.Minute) // the cache's own clock has not moved
	if r, _ := validator.Validate(t.Context(), "x", admitAll); r.Cache != token.CacheMiss {
		t.Error("the entry outlived the token")
	}
}

func TestWithdrawnKeyEndsCachedIdentities(t *testing.T) {
	held := true
	v := answering(&token.Identity{Subject: "alice", KeyID: "k1"}, nil)
	v.keys = func(id string) bool { return id != "k1" || held }
	for name, verifier := range map[string]token.Verifier{"alone": v, "with another": token.Both(v, answering(&token.Identity{Subject: "alice"}, nil))} {
		held = true
		validator := token.NewValidator(opaque(verifier))
		_, _ = validator.Validate(t.Context(), "x", admitAll)
		if r, _ := validator.Validate(t.Context(), "x", admitAll); r.Cache != token.CacheHit {
			t.Errorf("%s: not cached", name)
		}
		held = false
		if r, _ := validator.Validate(t.Context(), "x", admitAll); r.Cache != token.CacheMiss {
			t.Errorf("%s: still cached after the key was withdrawn", name)
		}
	}
}

func TestHerdIsOneVerification(t *testing.T) { bothWays(t, testHerdIsOneVerification) }

func testHerdIsOneVerification(t *testing.T, options func(*verifier) token.Options) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		v := &verifier{answer: func(context.Context, string) (*token.Identity, error) { <-release; return &token.Identity{}, nil }}
		validator := token.NewValidator(options(v))
		var admitted, good atomic.Int64
		for range 1000 {
			go func() {
				_, err := validator.Validate(t.Context(), "x", charging(func() error { admitted.Add(1); return nil }))
				if err == nil {
					good.Add(1)
				}
			}()
		}
		synctest.Wait()
		close(release)
		synctest.Wait()
		if v.calls.Load() != 1 || admitted.Load() != 1 || good.Load() != 1000 {
			t.Errorf("%d verifications, %d admissions, %d good answers", v.calls.Load(), admitted.Load(), good.Load())
		}
	})
}

func TestRefusalIsNotInherited(t *testing.T) { bothWays(t, testRefusalIsNotInherited) }

func testRefusalIsNotInherited(t *testing.T, options func(*verifier) token.Options) {
	synctest.Test(t, func(t *testing.T) {
		limited := errors.New("limited")
		v := &verifier{answer: alice}
		validator := token.NewValidator(options(v))
		asked, refuse := make(chan struct{}), make(chan struct{})
		leader := make(chan error, 1)
		go func() {
			_, err := validator.Validate(t.Context(), "x", charging(func() error { close(asked); <-refuse; return limited }))
			leader <- err
		}()
		<-asked
		followers := make(chan error, 100)
		var admitted atomic.Int64
		for range 100 {
			go func() {
				_, err := validator.Validate(t.Context(), "x", charging(func() error { admitted.Add(1); return nil }))
				followers <- err
			}()
		}
		synctest.Wait()
		close(refuse)
		synctest.Wait()
		if err := <-leader; !errors.Is(err, limited) {
			t.Errorf("the leader got %v", err)
		}
		for range 100 {
			if err := <-followers; err != nil {
				t.Errorf("a follower got %v", err)
			}
		}
		if v.calls.Load() != 1 || admitted.Load() != 1 {
			t.Errorf("%d verifications, %d admissions", v.calls.Load(), admitted.Load())
		}
	})
}

func TestManyRefusedTogetherAreRefusedSoon(t *testing.T) {
	bothWays(t, testManyRefusedTogetherAreRefusedSoon)
}

func testManyRefusedTogetherAreRefusedSoon(t *testing.T, options func(*verifier) token.Options) {
	limited := errors.New("limited")
	v := &verifier{answer: alice}
	validator := token.NewValidator(options(v))
	var asked atomic.Int64
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if _, err := validator.Validate(t.Context(), "x", charging(func() error { asked.Add(1); return limited })); !errors.Is(err, limited) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if v.calls.Load() != 0 || asked.Load() != 1000 {
		t.Errorf("%d verifications, %d asked", v.calls.Load(), asked.Load())
	}
}

func TestRefusalComesBeforeAnyWork(t *testing.T) { bothWays(t, testRefusalComesBeforeAnyWork) }

func testRefusalComesBeforeAnyWork(t *testing.T, options func(*verifier) token.Options) {
	limited := errors.New("limited")
	v := &verifier{answer: alice}
	validator := token.NewValidator(options(v))
	for _, raw := range []string{"opaque", compact(goodHeader, goodPayload), compact(goodHeader, `{"iss":"?"}`), "a.b.c"} {
		r, err := validator.Validate(t.Context(), raw, charging(func() error { return limited }))
		if !errors.Is(err, limited) || r.Cache != token.CacheNone || r.Identity != nil {
			t.Errorf("%s: got %+v, %v", raw, r, err)
		}
	}
	if v.calls.Load() != 0 {
		t.Error("the verifier was asked")
	}
}

func TestWaiterLeavesAndTheWorkGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &verifier{answer: func(ctx context.Context, _ string) (*token.Identity, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(3 * time.Second):
				return &token.Identity{}, nil
			}
		}}
		validator := token.NewValidator(opaque(v))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		r, err := validator.Validate(ctx, "x", admitAll)
		var unavailable *token.UnavailableError
		if !errors.As(err, &unavailable) || unavailable.RetryAfter <= 0 || r.Identity != nil {
			t.Errorf("got %+v, %v", r, err)
		}
		if left := time.Second - time.Since(start); left != 50*time.Millisecond {
			t.Errorf("%v are left to answer, want 50ms", left)
		}
		cancel()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if r, err := validator.Validate(t.Context(), "x", admitAll); err != nil || r.Cache != token.CacheHit {
			t.Errorf("the work was lost: %+v, %v", r, err)
		}
	})
}

func TestHangingVerifierIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &verifier{answer: func(ctx context.Context, _ string) (*token.Identity, error) {
			<-ctx.Done()
			return nil, &token.UnavailableError{Reason: "slow", Err: ctx.Err()}
		}}
		validator := token.NewValidator(opaque(v))
		start := time.Now()
		if _, err := validator.Validate(t.Context(), "x", admitAll); err == nil || time.Since(start) != 10*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestNoWorkForACallerThatHasLeft(t *testing.T) {
	v := &verifier{answer: alice}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var unavailable *token.UnavailableError
	if _, err := token.NewValidator(opaque(v)).Validate(ctx, "x", admitAll); !errors.As(err, &unavailable) || v.calls.Load() != 0 {
		t.Errorf("got %v and %d verifications", err, v.calls.Load())
	}
}

func TestRouting(t *testing.T) {
	named := func(name string) *verifier { return answering(&token.Identity{Provider: name}, nil) }
	validator := token.NewValidator(token.Options{Providers: []token.Provider{
		{Name: "one", Issuer: "https://one.test", Verifier: named("one")},
		{Name: "two", Issuer: "https://two.test", Tokens: token.Any, Verifier: named("two")},
		{Name: "three", Issuer: "", Verifier: named("three")},
	}})
	spelled := func(header string) string {
		return base64Lenient(header) + "." + b64(goodPayload) + "." + b64("signature")
	}
	for raw, want := range map[string]string{
		compact(goodHeader, `{"iss":"https://one.test"}`): "one",
		compact(goodHeader, `{"iss":"https://two.test"}`): "two",
		"opaque":             "two",
		"opaque.with.dots":   "two",
		"ya29.a0Af_B-x~+/==": "two",
		compact(goodHeader, `{"iss":"https://one.test/"}`):      "",
		compact(goodHeader, `{"iss":"https://three.test"}`):     "",
		compact(goodHeader, `{"iss":""}`):                       "",
		compact(goodHeader, `{"iss":null}`):                     "",
		compact(goodHeader, `{}`):                               "",
		compact(`{"alg":"none"}`, `{"iss":"https://two.test"}`): "",
		// What a lenient reader would take for a JWT is never an opaque token.
		compact(goodHeader, `{"iss":"https://two.test"}`) + "=": "",
		compact(` {"alg":"RS256","alg":"RS256"}`, goodPayload):  "",
		compact("\n{ \"alg\":\"RS256\",}", goodPayload):         "",
		spelled(`{"alg":"RS256","kid":"??>>"}`):                 "",
		b64(goodHeader) + "." + b64(goodPayload) + ".":          "",
		b64(goodHeader) + ".a.b.c.d":                            "",
		b64(goodHeader) + "!.a.b":                               "",
		strings.Repeat("a", token.MaxLength+1):                  "",
	} {
		r, err := validator.Validate(t.Context(), raw, nil)
		if r.Provider != want || (err == nil) != (want != "") {
			t.Errorf("%.60s: got %+v, %v; want %q", raw, r, err, want)
		}
		mustBeInvalid(t, err)
		if again, err2 := validator.Validate(t.Context(), raw, nil); again.Cache != token.CacheHit || again.Provider != want || (err2 == nil) != (err == nil) {
			t.Errorf("%.60s: again: %+v, %v", raw, again, err2)
		}
	}
}

// base64Lenient uses the standard alphabet with padding, which the strict parser refuses.
func base64Lenient(s string) string {
	return strings.NewReplacer("-", "+", "_", "/").Replace(b64(s)) + "="
}

func TestWithoutOpaqueProviderOtherTokensAreInvalid(t *testing.T) {
	v := &verifier{answer: alice}
	opts := opaque(v)
	opts.Providers[0].Tokens = token.JWTs
	_, err := token.NewValidator(opts).Validate(t.Context(), "opaque", nil)
	if err == nil || v.calls.Load() != 0 {
		t.Errorf("got %v", err)
	}
	mustBeInvalid(t, err)
}

func TestNothingConfiguredFindsNothingValid(t *testing.T) {
	for name, opts := range map[string]token.Options{"no providers": {}, "no verifier": opaque(nil)} {
		if r, err := token.NewValidator(opts).Validate(t.Context(), "x", nil); err == nil || r.Identity != nil {
			t.Errorf("%s: got %+v", name, r)
		}
	}
}

func TestPanicIsAnErrorWithoutTheToken(t *testing.T) { bothWays(t, testPanicIsAnErrorWithoutTheToken) }

func testPanicIsAnErrorWithoutTheToken(t *testing.T, options func(*verifier) token.Options) {
	var log strings.Builder
	for name, v := range map[string]*verifier{
		"runtime": {answer: func(context.Context, string) (*token.Identity, error) { return (*verifier)(nil).answer(nil, "") }},
		"value":   {answer: func(_ context.Context, raw string) (*token.Identity, error) { panic("cannot read " + raw) }},
	} {
		opts := options(v)
		opts.Logger = textLogger(&log)
		r, err := token.NewValidator(opts).Validate(t.Context(), "canary", nil)
		if err == nil || r.Identity != nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
		if _, err := token.NewValidator(opts).Validate(t.Context(), "canary", charging(func() error { panic("canary") })); err == nil {
			t.Errorf("%s: a panic in admit admits", name)
		}
	}
	if s := log.String(); strings.Contains(s, "canary") || !strings.Contains(s, "nil pointer") {
		t.Errorf("log: %s", s)
	}
}

func TestGarbageDoesNotEvictIdentities(t *testing.T) {
	v := &verifier{answer: func(_ context.Context, raw string) (*token.Identity, error) {
		if strings.HasPrefix(raw, "user") {
			return &token.Identity{}, nil
		}
		return nil, token.Invalidf("garbage")
	}}
	opts := opaque(v)
	opts.Cache = token.NewCache(100, 0)
	validator := token.NewValidator(opts)
	for i := range 50 {
		_, _ = validator.Validate(t.Context(), fmt.Sprint("user", i), nil)
	}
	for i := range 10_000 {
		_, _ = validator.Validate(t.Context(), fmt.Sprint("garbage", i), nil)
	}
	for i := range 50 {
		if r, _ := validator.Validate(t.Context(), fmt.Sprint("user", i), nil); r.Cache != token.CacheHit {
			t.Fatalf("user %d was pushed out", i)
		}
	}
}

func TestObserve(t *testing.T) {
	var got []string
	v := &verifier{answer: func(_ context.Context, raw string) (*token.Identity, error) {
		switch raw {
		case "good":
			return &token.Identity{}, nil
		case "bad":
			return nil, token.Invalidf("bad")
		case "down":
			return nil, &token.UnavailableError{}
		}
		return nil, errors.New("?")
	}}
	opts := opaque(v)
	opts.Observe = func(provider, outcome string, _ time.Duration) { got = append(got, provider+":"+outcome) }
	validator := token.NewValidator(opts)
	for _, raw := range []string{"good", "good", "bad", "bad", "down", "odd", compact(goodHeader, `{"iss":"?"}`)} {
		_, _ = validator.Validate(t.Context(), raw, nil)
	}
	if s := strings.Join(got, " "); s != "idp:valid idp:invalid idp:unavailable idp:error :invalid" {
		t.Errorf("got %s", s)
	}
}

func TestBoth(t *testing.T) {
	id := func(sub, client string) *verifier {
		return answering(&token.Identity{Subject: sub, ClientID: client}, nil)
	}
	bad := func() *verifier { return answering(nil, token.Invalidf("bad")) }
	for name, c := range map[string]struct {
		first, second *verifier
		good          bool
		asked         int64 // the second
	}{
		"same subject":       {id("a", ""), id("a", ""), true, 1},
		"other subject":      {id("a", ""), id("b", ""), false, 1},
		"one without":        {id("a", ""), id("", ""), false, 1},
		"other without":      {id("", ""), id("a", ""), false, 1},
		"both without":       {id("", ""), id("", ""), false, 1},
		"same machine":       {id("", "m"), id("", "m"), true, 1},
		"other machine":      {id("", "m"), id("", "n"), false, 1},
		"the first refuses":  {bad(), id("a", ""), false, 0},
		"the second refuses": {id("a", ""), bad(), false, 1},
	} {
		got, err := token.Both(c.first, c.second).Verify(t.Context(), token.Parse("x"))
		if (err == nil) != c.good || (got != nil) != c.good || c.second.calls.Load() != c.asked {
			t.Errorf("%s: got %+v, %v, second asked %d times", name, got, err, c.second.calls.Load())
		}
	}
	first := &token.Identity{Subject: "a", Scopes: []string{"x"}, Expiry: now.Add(time.Hour), KeyID: "k"}
	second := &token.Identity{Subject: "a", Scopes: []string{"y"}, Expiry: now, Email: "a@b.test"}
	got, err := token.Both(answering(first, nil), answering(second, nil)).Verify(t.Context(), token.Parse("x"))
	if err != nil || got.Scopes[0] != "x" || got.Email != "a@b.test" || !got.Expiry.Equal(now) || got.KeyID != "k" || first.Email != "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func BenchmarkHit(b *testing.B) {
	validator := token.NewValidator(opaque(&verifier{answer: alice}))
	raw := compact(goodHeader, goodPayload+strings.Repeat(" ", 700))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = validator.Validate(b.Context(), raw, admitAll)
	}
}

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestMaxBytes(t *testing.T) {
	v := token.NewValidator(token.Options{Providers: []token.Provider{
		{Name: "small", Tokens: token.Any, MaxBytes: 2000, Verifier: answering(&token.Identity{Subject: "alice"}, nil)},
		{Name: "default", Issuer: "https://idp.test", Verifier: answering(&token.Identity{Subject: "alice"}, nil)},
	}})
	if v.MaxBytes() != token.DefaultMaxLength {
		t.Errorf("the longest is %d", v.MaxBytes())
	}
	if _, err := v.Validate(t.Context(), strings.Repeat("a", 2000), nil); err != nil {
		t.Errorf("of that length: %v", err)
	}
	_, err := v.Validate(t.Context(), strings.Repeat("a", 2001), nil)
	if mustBeInvalid(t, err); err == nil || !strings.Contains(err.Error(), "2000") || !strings.Contains(err.Error(), "max_token_bytes") {
		t.Errorf("longer: %v", err)
	}
}

// TestUncached: what may be another answer at the next request is asked each time, and a
// valid credential is free, also where a neighbour has used up the limit.
func TestUncached(t *testing.T) {
	answers := []error{nil, token.Invalidf("revoked"), nil, token.Invalidf("revoked")}
	cache, asked := token.NewCache(10, 0), 0
	verifier := answersInTurn(func() (*token.Identity, error) {
		asked++
		return &token.Identity{Subject: "ci"}, answers[asked-1]
	})
	v := token.NewValidator(token.Options{Cache: cache, Providers: []token.Provider{{Name: "keys", Tokens: token.Any, Uncached: true, Verifier: verifier}}, MaxStale: time.Hour})
	charged := 0
	admit := &token.Admission{
		Peek:   func() error { return errors.New("the limit is used up") },
		Charge: func(context.Context) error { charged++; return nil },
	}
	for i, want := range answers {
		result, err := v.Validate(t.Context(), "key", admit)
		if (err == nil) != (want == nil) || result.Cache == token.CacheHit {
			t.Errorf("request %d: %v, %s", i, err, result.Cache)
		}
	}
	if valid, invalid := cache.Len(); asked != len(answers) || valid+invalid > 0 {
		t.Errorf("asked %d times; %d identities and %d refusals are cached", asked, valid, invalid)
	}
	if charged != 2 {
		t.Errorf("%d were charged, want the two refusals", charged)
	}
}

type answersInTurn func() (*token.Identity, error)

func (f answersInTurn) Verify(context.Context, *token.Token) (*token.Identity, error) { return f() }

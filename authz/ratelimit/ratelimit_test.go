package ratelimit_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scopeward/authz/ratelimit"
	"scopeward/authz/redis"
	"scopeward/internal/testenv/redistest"
)

// limiters are the two kinds; each is made anew, with a clock of its own.
type limiters struct {
	make    func(opts ratelimit.Options) ratelimit.Limiter
	advance func(d time.Duration)
	late    time.Duration // by how much less than expected a window may have left
}

// eachKind runs a test with both kinds.
func eachKind(t *testing.T, test func(t *testing.T, l limiters)) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		test(t, limiters{
			make: func(opts ratelimit.Options) ratelimit.Limiter {
				opts.Now = func() time.Time { return now }
				return ratelimit.NewMemory(opts)
			},
			advance: func(d time.Duration) { now = now.Add(d) },
		})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		client := connect(t, server)
		test(t, limiters{
			make:    func(opts ratelimit.Options) ratelimit.Limiter { return ratelimit.NewShared(client, opts) },
			advance: server.Advance,
			late:    15 * time.Second, // real time goes by as well
		})
	})
}

// connect is a client with the patience that a busy machine needs.
func connect(t *testing.T, server *redistest.Server) *redis.Client {
	t.Helper()
	return server.Connect(redis.Options{}, "?timeout=5s")
}

func TestFixedWindow(t *testing.T) {
	eachKind(t, func(t *testing.T, l limiters) {
		limiter := l.make(ratelimit.Options{Max: 2, Window: time.Hour})
		want := func(step string, want ratelimit.Result) {
			t.Helper()
			want.Limit, want.Window = 2, time.Hour
			got := limiter.Allow(context.Background(), "a")
			if got.Reset > want.Reset-l.late && got.Reset < want.Reset {
				got.Reset = want.Reset
			}
			if got != want {
				t.Errorf("%s: got %+v, want %+v", step, got, want)
			}
		}
		want("first", ratelimit.Result{OK: true, Remaining: 1, Reset: time.Hour})
		l.advance(20 * time.Minute)
		want("second", ratelimit.Result{OK: true, Remaining: 0, Reset: 40 * time.Minute})
		want("third", ratelimit.Result{Reset: 40 * time.Minute})
		l.advance(39 * time.Minute)
		want("near the end, since refusals do not extend the window", ratelimit.Result{Reset: time.Minute})
		l.advance(time.Minute)
		want("next window", ratelimit.Result{OK: true, Remaining: 1, Reset: time.Hour})
	})
}

func TestKeysAreCountedApart(t *testing.T) {
	eachKind(t, func(t *testing.T, l limiters) {
		limiter := l.make(ratelimit.Options{Max: 1, Window: time.Minute})
		for _, key := range []string{"a", "b", ""} {
			if !limiter.Allow(context.Background(), key).OK {
				t.Errorf("the first use of %q was refused", key)
			}
			if limiter.Allow(context.Background(), key).OK {
				t.Errorf("the second use of %q was allowed", key)
			}
		}
	})
}

func TestNothingConfiguredAllowsNothing(t *testing.T) {
	eachKind(t, func(t *testing.T, l limiters) {
		for _, opts := range []ratelimit.Options{{}, {Max: 1}, {Window: time.Minute}, {Max: -1, Window: -1}} {
			if got := l.make(opts).Allow(context.Background(), "a"); got.OK || got.Remaining != 0 || got.Reset < 0 {
				t.Errorf("%+v: got %+v", opts, got)
			}
		}
	})
}

// TestPeekCountsNothing: it tells what Allow has told, and begins no window.
func TestPeekCountsNothing(t *testing.T) {
	eachKind(t, func(t *testing.T, l limiters) {
		limiter := l.make(ratelimit.Options{Max: 1, Window: time.Minute})
		for range 3 {
			if got := limiter.Peek("a"); !got.OK {
				t.Errorf("before: %+v", got)
			}
		}
		limiter.Valid("a", false)
		limiter.Allow(context.Background(), "a")
		limiter.Allow(context.Background(), "a")
		if got := limiter.Peek("a"); got.OK || got.Limit != 1 || got.Reset <= 0 || got.Reset > time.Minute {
			t.Errorf("spent: %+v", got)
		}
		if got := limiter.Peek("b"); !got.OK {
			t.Errorf("another: %+v", got)
		}
		if n := limiter.(interface{ Len() int }).Len(); n != 1 {
			t.Errorf("%d keys are counted", n)
		}
	})
}

// TestMostlyValid: valid tokens that count and those that do not are told from refusals.
func TestMostlyValid(t *testing.T) {
	eachKind(t, func(t *testing.T, l limiters) {
		for _, c := range []struct {
			refused, counted, free int
			want                   bool
		}{{4, 0, 0, false}, {4, 0, 4, false}, {4, 0, 5, true}, {2, 2, 0, false}, {1, 3, 0, true}} {
			limiter := l.make(ratelimit.Options{Max: 4, Window: time.Minute})
			key := fmt.Sprint(c)
			for range c.refused {
				limiter.Allow(context.Background(), key)
			}
			for range c.counted {
				limiter.Allow(context.Background(), key)
				limiter.Valid(key, true)
			}
			for range c.free {
				limiter.Valid(key, false)
			}
			if got := limiter.Allow(context.Background(), key); got.OK || got.MostlyValid != c.want {
				t.Errorf("%+v: %+v", c, got)
			}
		}
	})
}

func TestClockSetBackDoesNotLockOut(t *testing.T) {
	eachKind(t, func(t *testing.T, l limiters) {
		limiter := l.make(ratelimit.Options{Max: 1, Window: time.Minute})
		limiter.Allow(context.Background(), "a")
		l.advance(-24 * time.Hour)
		if got := limiter.Allow(context.Background(), "a"); !got.OK || got.Reset > time.Minute {
			t.Errorf("got %+v", got)
		}
	})
}

func TestConcurrentUseCountsExactly(t *testing.T) {
	eachKind(t, func(t *testing.T, l limiters) {
		limiter := l.make(ratelimit.Options{Max: 100, Window: time.Hour})
		var allowed atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					if limiter.Allow(context.Background(), "a").OK {
						allowed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if n := allowed.Load(); n != 100 {
			t.Errorf("%d were allowed, want 100", n)
		}
	})
}

func TestTenThousandAddresses(t *testing.T) {
	eachKind(t, func(t *testing.T, l limiters) {
		limiter := l.make(ratelimit.Options{Max: 1, Window: time.Hour, MaxKeys: 20_000})
		for i := range 10_000 {
			limiter.Allow(context.Background(), strconv.Itoa(i))
		}
		for i := range 10_000 {
			if limiter.Allow(context.Background(), strconv.Itoa(i)).OK {
				t.Fatalf("address %d was forgotten below the bound", i)
			}
		}
	})
}

func TestKey(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7":           "192.0.2.7",
		"::ffff:192.0.2.7":    "192.0.2.7",
		"2001:db8::1":         "2001:db8::/64",
		"2001:db8:0:0:f::1":   "2001:db8::/64",
		"2001:db8:0:1::1":     "2001:db8:0:1::/64",
		"fe80::1%eth0":        "fe80::/64",
		"::1":                 "::/64",
		"":                    "",
		"unknown":             "",
		"192.0.2.7:80":        "",
		"192.0.2.07":          "",
		" 192.0.2.7":          "",
		"192.0.2.7, 10.0.0.1": "",
	} {
		if got := ratelimit.Key(in); got != want {
			t.Errorf("Key(%q) = %q, want %q", in, got, want)
		}
	}
}

package ratelimit_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"scopeward/authz/ratelimit"
)

func TestFixedWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := ratelimit.NewMemory(ratelimit.Options{Max: 2, Window: time.Minute})
		want := func(step string, want ratelimit.Result) {
			t.Helper()
			want.Limit, want.Window = 2, time.Minute
			if diff := cmp.Diff(want, m.Allow("a")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step, diff)
			}
		}
		want("first", ratelimit.Result{OK: true, Remaining: 1, Reset: time.Minute})
		time.Sleep(20 * time.Second)
		want("second", ratelimit.Result{OK: true, Remaining: 0, Reset: 40 * time.Second})
		want("third", ratelimit.Result{Reset: 40 * time.Second})
		time.Sleep(40*time.Second - time.Nanosecond)
		want("at the very end, since refusals do not extend the window", ratelimit.Result{Reset: time.Nanosecond})
		time.Sleep(time.Nanosecond)
		want("next window", ratelimit.Result{OK: true, Remaining: 1, Reset: time.Minute})
	})
}

func TestKeysAreCountedApart(t *testing.T) {
	m := ratelimit.NewMemory(ratelimit.Options{Max: 1, Window: time.Minute})
	for _, key := range []string{"a", "b", ""} {
		if !m.Allow(key).OK {
			t.Errorf("the first use of %q was refused", key)
		}
		if m.Allow(key).OK {
			t.Errorf("the second use of %q was allowed", key)
		}
	}
}

func TestNothingConfiguredAllowsNothing(t *testing.T) {
	for _, opts := range []ratelimit.Options{{}, {Max: 1}, {Window: time.Minute}, {Max: -1, Window: -1}} {
		if got := ratelimit.NewMemory(opts).Allow("a"); got.OK || got.Remaining != 0 || got.Reset < 0 {
			t.Errorf("%+v: got %+v", opts, got)
		}
	}
}

func TestClockSetBackDoesNotLockOut(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	m := ratelimit.NewMemory(ratelimit.Options{Max: 1, Window: time.Minute, Now: func() time.Time { return now }})
	m.Allow("a")
	now = now.Add(-24 * time.Hour)
	if got := m.Allow("a"); !got.OK || got.Reset > time.Minute {
		t.Errorf("got %+v", got)
	}
}

func TestConcurrentUseCountsExactly(t *testing.T) {
	m := ratelimit.NewMemory(ratelimit.Options{Max: 100, Window: time.Hour})
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if m.Allow("a").OK {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := allowed.Load(); n != 100 {
		t.Errorf("%d were allowed, want 100", n)
	}
}

func TestTenThousandAddresses(t *testing.T) {
	m := ratelimit.NewMemory(ratelimit.Options{Max: 1, Window: time.Hour, MaxKeys: 20_000})
	for i := range 10_000 {
		m.Allow(strconv.Itoa(i))
	}
	for i := range 10_000 {
		if m.Allow(strconv.Itoa(i)).OK {
			t.Fatalf("address %d was forgotten below the bound", i)
		}
	}
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

package ratelimit_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"scopeward/authz/ratelimit"
	"scopeward/authz/redis"
	"scopeward/internal/testenv/redistest"
)

// uses is how often of n times a limiter allows something.
func uses(l ratelimit.Limiter, key string, n int) (allowed int) {
	for range n {
		if l.Allow(context.Background(), key).OK {
			allowed++
		}
	}
	return allowed
}

func TestOneLimitOverReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	opts := ratelimit.Options{Max: 10, Window: time.Hour}
	a, b := ratelimit.NewShared(connect(t, server), opts), ratelimit.NewShared(connect(t, server), opts)
	if n := uses(a, "192.0.2.7", 7); n != 7 {
		t.Errorf("the first replica allowed %d of 7", n)
	}
	if n := uses(b, "192.0.2.7", 7); n != 3 {
		t.Errorf("the second replica allowed %d of the 3 that were left", n)
	}
	if got := a.Allow(context.Background(), "192.0.2.7"); got.OK || got.Remaining != 0 || got.Limit != 10 {
		t.Errorf("the first replica does not know: %+v", got)
	}
	server.Do("SCRIPT", "FLUSH")
	if b.Allow(context.Background(), "192.0.2.7").OK {
		t.Error("the count was lost with the script")
	}
}

// What is in Redis has no address in it, and ends by itself.
func TestWhatIsKept(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	limiter := ratelimit.NewShared(connect(t, server), ratelimit.Options{Max: 3, Window: time.Hour})
	uses(limiter, "192.0.2.7", 5)
	uses(limiter, "2001:db8::/64", 5)
	keys := server.Keys()
	if len(keys) != 2 {
		t.Errorf("got the keys %v", keys)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, "scopeward:limit:") || strings.Contains(key, "192") || strings.Contains(key, "2001") {
			t.Errorf("key %q", key)
		}
		if left := server.Do("PTTL", key).(int64); left <= 0 || left > time.Hour.Milliseconds() {
			t.Errorf("key %q lives for %d ms", key, left)
		}
	}
}

// Whatever somebody wrote, nobody is locked out for longer than a window, and no
// key stays for ever.
func TestNonsenseInRedisBeginsAfresh(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	limiter := ratelimit.NewShared(connect(t, server), ratelimit.Options{Max: 3, Window: time.Minute})
	limiter.Allow(context.Background(), "a")
	key := server.Keys()[0]
	for name, command := range map[string][]any{
		"for ever":    {"SET", key, "3"},
		"too long":    {"SET", key, "3", "EX", "3600"},
		"no number":   {"SET", key, "three", "EX", "30"},
		"a fraction":  {"SET", key, "2.5", "EX", "30"},
		"negative":    {"SET", key, "-1000000", "EX", "30"},
		"not finite":  {"SET", key, "nan", "EX", "30"},
		"flushed":     {"FLUSHALL"},
		"overflowing": {"SET", key, "99999999999999999999999999", "EX", "3600"},
	} {
		server.Do(command...)
		if n := uses(limiter, "a", 5); n != 3 {
			t.Errorf("%s: %d of 5 were allowed, want 3", name, n)
		}
		if left := server.Do("PTTL", key).(int64); left <= 0 || left > time.Minute.Milliseconds() {
			t.Errorf("%s: the key lives for %d ms", name, left)
		}
		server.Do("FLUSHALL")
	}
	// A list where a number should be: Redis refuses, and this process counts.
	server.Do("RPUSH", key, "x")
	if n := uses(ratelimit.NewShared(connect(t, server), ratelimit.Options{Max: 3, Window: time.Minute}), "a", 5); n != 3 {
		t.Errorf("with a list in the way %d of 5 were allowed, want 3", n)
	}
}

// Each fault of Redis leaves a limit, counted here, that knows what it has allowed.
func TestFaultsLeaveALimit(t *testing.T) {
	for _, fault := range []struct {
		name        string
		begin, done func(*redistest.Server)
	}{
		{"killed", (*redistest.Server).Kill, func(s *redistest.Server) { s.Restart() }},
		{"frozen", (*redistest.Server).Freeze, (*redistest.Server).Thaw},
		{"out of memory", func(s *redistest.Server) { s.Do("CONFIG", "SET", "maxmemory", "1") }, func(s *redistest.Server) { s.Do("CONFIG", "SET", "maxmemory", "0") }},
		{"read only", func(s *redistest.Server) { s.Do("REPLICAOF", "127.0.0.1", "1") }, func(s *redistest.Server) { s.Do("REPLICAOF", "NO", "ONE") }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			client := server.Connect(redis.Options{}, "")
			limiter := ratelimit.NewShared(client, ratelimit.Options{Max: 10, Window: time.Hour})
			if n := uses(limiter, "a", 4); n != 4 {
				t.Fatalf("%d of 4 were allowed", n)
			}
			fault.begin(server)
			start := time.Now()
			if n := uses(limiter, "a", 200); n != 6 {
				t.Errorf("without Redis %d were allowed, want the 6 that were left", n)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("200 uses took %v", took)
			}
			fault.done(server)
			redistest.Eventually(t, "Redis counts again", func() bool {
				server.Do("FLUSHALL")
				return limiter.Allow(context.Background(), "a").OK
			})
		})
	}
}

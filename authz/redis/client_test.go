package redis_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"scopeward/authz/redis"
	"scopeward/internal/process"
	"scopeward/internal/testenv/redistest"
)

const password = "canary-hunter2"

func get(c *redis.Client) error {
	return c.Do(context.Background(), redis.Read, func(ctx context.Context, r goredis.Cmdable) error { return r.Get(ctx, "key").Err() })
}

func set(c *redis.Client) error {
	return c.Do(context.Background(), redis.Write, func(ctx context.Context, r goredis.Cmdable) error {
		return r.Set(ctx, "key", "value", time.Minute).Err()
	})
}

func isUp(c *redis.Client) bool { up, _ := c.State(); return up }

// log collects what a client logs.
type log struct{ process.Output }

func (l *log) options() redis.Options {
	return redis.Options{Logger: slog.New(slog.NewTextHandler(l, nil))}
}

func (l *log) want(t *testing.T, message string, times int) {
	t.Helper()
	if n := strings.Count(l.String(), message); n != times {
		t.Errorf("%q was logged %d times, want %d:\n%s", message, n, times, l)
	}
}

// Whatever happens to Redis: a thousand calls at once end soon, it is logged once,
// then a call costs nothing, and Redis is used again when it is back.
func TestFaults(t *testing.T) {
	for _, fault := range []struct {
		name, reason string
		begin, done  func(*redistest.Server)
	}{
		{"killed", "refused", (*redistest.Server).Kill, func(s *redistest.Server) { s.Restart() }},
		{"frozen", "does not answer in time", (*redistest.Server).Freeze, (*redistest.Server).Thaw},
		{"paused", "does not answer in time", func(s *redistest.Server) { s.Do("CLIENT", "PAUSE", "3000", "ALL") }, func(*redistest.Server) {}},
		{"another password", "WRONGPASS", func(s *redistest.Server) { s.Stop(); s.Restart("--requirepass", "another") }, func(s *redistest.Server) { s.Stop(); s.Restart("--requirepass", password) }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			var l log
			server := redistest.Start(t, "--requirepass", password)
			client := server.Connect(l.options(), "?timeout=200ms")
			redistest.Eventually(t, "Redis answers", func() bool { return errors.Join(set(client), get(client)) == nil })
			fault.begin(server)
			start := time.Now()
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() {
					for range 2 {
						if get(client) == nil {
							t.Error("there was an answer")
						}
					}
				})
			}
			wg.Wait()
			if took := time.Since(start); took > 5*time.Second { // on a busy machine, with the race detector
				t.Errorf("a thousand times two calls at once took %v", took)
			}
			redistest.Eventually(t, "it is known why: "+fault.reason, func() bool {
				_, reason := client.State()
				return strings.Contains(reason, fault.reason)
			})
			if isUp(client) {
				t.Error("Redis counts as up")
			}
			start = time.Now()
			for range 10_000 {
				_ = get(client)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("10,000 calls took %v while Redis is down", took)
			}
			fault.done(server)
			redistest.Eventually(t, "Redis is back", func() bool { return isUp(client) && set(client) == nil })
			l.want(t, "Redis can't be used", 1)
			l.want(t, "Redis is used", 2)
			l.want(t, password, 0)
		})
	}
}

func TestDownAtStart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	var l log
	url, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.New(url, l.options())
	if get(client) == nil || isUp(client) {
		t.Error("it is up before anybody tried")
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { client.Run(ctx) })
	<-client.Tried()
	if up, reason := client.State(); up || !strings.Contains(reason, "refused") {
		t.Errorf("got %v, %q", up, reason)
	}
	server.Restart()
	redistest.Eventually(t, "Redis is up", func() bool { return isUp(client) })
	stop()
	wg.Wait()
	if err := get(client); !errors.Is(err, goredis.Nil) {
		t.Errorf("after its watch has ended: %v", err)
	}
	client.Close()
	if get(client) == nil || isUp(client) {
		t.Error("it is up after its end")
	}
	l.want(t, "Redis can't be used", 1)
	l.want(t, "Redis is used", 1)
}

// Out of memory, Redis still answers what it has. What it refuses is not taken for
// an outage, costs one quick question, and is logged once.
func TestRefusals(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", password)
	var l log
	var refused atomic.Int64
	opts := l.options()
	opts.Observe = func(op redis.Operation, outcome string, d time.Duration) {
		if op == redis.Write && outcome == redis.Refused && d > 0 {
			refused.Add(1)
		}
	}
	client := server.Connect(opts, "?timeout=5s")
	if err := set(client); err != nil {
		t.Fatal(err)
	}
	server.Do("CONFIG", "SET", "maxmemory", "1")
	for range 10 {
		if err := set(client); err == nil || !strings.HasPrefix(err.Error(), "OOM") {
			t.Errorf("without memory, set: %v", err)
		}
		if err := get(client); err != nil {
			t.Errorf("without memory, get: %v", err)
		}
	}
	if up, reason := client.State(); !up || !strings.Contains(reason, "refuses to write: OOM") {
		t.Errorf("got %v, %q", up, reason)
	}
	if n := refused.Load(); n != 10 {
		t.Errorf("%d refusals were observed, want 10", n)
	}
	l.want(t, "Redis refuses", 1)
	l.want(t, "Redis can't be used", 0)

	server.Do("CONFIG", "SET", "maxmemory", "0")
	server.Do("ACL", "SETUSER", "default", "-get")
	if err := get(client); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Errorf("without permission, get: %v", err)
	}
	if err := set(client); err != nil {
		t.Errorf("with memory again, set: %v", err)
	}
	l.want(t, "operation=read", 1)
}

// Redis repeats the arguments of a command that it doesn't know, and AUTH may be
// one: nobody hears them from here.
func TestPasswordIsNotRepeated(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--rename-command", "AUTH", "", "--rename-command", "HELLO", "")
	var l log
	url, err := redis.ParseURL("redis://:" + password + "@" + server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.New(url, l.options())
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { client.Run(ctx) })
	<-client.Tried()
	stop()
	wg.Wait()
	client.Close()
	up, reason := client.State()
	l.want(t, "unknown command", 1)
	l.want(t, password, 0)
	if up || strings.Contains(reason, password) {
		t.Errorf("got %v, %q", up, reason)
	}
}

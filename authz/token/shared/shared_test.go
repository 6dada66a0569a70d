package shared_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"scopeward/authz/redis"
	"scopeward/authz/token"
	"scopeward/authz/token/shared"
	"scopeward/internal/testenv/redistest"
)

const secretToken = "canary.token.value"

func name(provider, raw string) token.EntryName {
	return token.EntryName{Provider: provider, Token: sha256.Sum256([]byte(raw))}
}

func sealed(t *testing.T, server *redistest.Server, key string) *shared.Sealed {
	t.Helper()
	s, err := shared.NewSealed(server.Connect(redis.Options{}, "?timeout=5s"), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const key = "0123456789abcdef0123456789abcdef"

// eachKind runs a test with both kinds of stores.
func eachKind(t *testing.T, test func(t *testing.T, server *redistest.Server, s token.Store)) {
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		test(t, server, shared.NewPlain(server.Connect(redis.Options{}, "?timeout=5s")))
	})
	t.Run("sealed", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		test(t, server, sealed(t, server, key))
	})
}

func want(t *testing.T, what string, s token.Store, n token.EntryName, want string) {
	t.Helper()
	if got, err := s.Get(context.Background(), n); err != nil || string(got) != want {
		t.Errorf("%s: got %q, %v, want %q", what, got, err, want)
	}
}

func TestStore(t *testing.T) {
	eachKind(t, func(t *testing.T, server *redistest.Server, s token.Store) {
		n := name("kinde/1", secretToken)
		want(t, "before", s, n, "")
		s.Set(context.Background(), n, []byte(`{"sub":"alice"}`), time.Minute)
		want(t, "after", s, n, `{"sub":"alice"}`)
		want(t, "another provider", s, name("kinde/2", secretToken), "")
		want(t, "another token", s, name("kinde/1", secretToken+"x"), "")
		s.Set(context.Background(), n, []byte(`{"sub":"bob"}`), time.Minute)
		want(t, "again", s, n, `{"sub":"bob"}`)

		keys := server.Keys()
		if len(keys) != 1 || !strings.HasPrefix(keys[0], "scopeward:identity:") {
			t.Fatalf("got the keys %v", keys)
		}
		if left := server.Do("PTTL", keys[0]).(int64); left <= 0 || left > time.Minute.Milliseconds() {
			t.Errorf("the entry lives for %d ms", left)
		}
		if kept := keys[0] + server.Do("GET", keys[0]).(string); strings.Contains(kept, secretToken) || strings.Contains(kept, "kinde") {
			t.Errorf("Redis has the token or its provider: %q", kept)
		}
		server.Advance(time.Minute)
		want(t, "at its end", s, n, "")
		s.Set(context.Background(), n, []byte("x"), 0)
		s.Set(context.Background(), n, []byte("x"), -time.Second)
		s.Set(context.Background(), n, bytes.Repeat([]byte("x"), 65<<10), time.Minute)
		want(t, "what should not be kept", s, n, "")
	})
}

func TestTooLongIsNotRead(t *testing.T) {
	eachKind(t, func(t *testing.T, server *redistest.Server, s token.Store) {
		n := name("kinde/1", secretToken)
		s.Set(context.Background(), n, []byte("x"), time.Minute)
		server.Do("SET", server.Keys()[0], strings.Repeat("x", 10<<20))
		var rejected *token.RejectedError
		if got, err := s.Get(context.Background(), n); got != nil || !errors.As(err, &rejected) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	})
}

func TestFaults(t *testing.T) {
	eachKind(t, func(t *testing.T, server *redistest.Server, s token.Store) {
		n := name("kinde/1", secretToken)
		s.Set(context.Background(), n, []byte("x"), time.Minute)
		server.Do("CONFIG", "SET", "maxmemory", "1")
		want(t, "out of memory", s, n, "x")
		s.Set(context.Background(), n, []byte("y"), time.Minute)
		want(t, "out of memory, it keeps what it had", s, n, "x")
		server.Do("FLUSHALL")
		want(t, "flushed", s, n, "")
		server.Do("CONFIG", "SET", "maxmemory", "0")
		s.Set(context.Background(), n, []byte("y"), time.Minute)
		server.Kill()
		start := time.Now()
		for range 100 {
			if got, err := s.Get(context.Background(), n); got != nil || err == nil {
				t.Fatalf("without Redis: got %q, %v", got, err)
			}
			s.Set(context.Background(), n, []byte("z"), time.Minute)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("200 calls took %v", took)
		}
	})
}

// Without the key nobody makes an entry: not from nothing, not from parts of
// others, not from that of another token or provider.
func TestSealedCannotBeForged(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := sealed(t, server, key)
	mine, other, elsewhere := name("kinde/1", "mine"), name("kinde/1", "admin"), name("kinde/2", "admin")
	keyOf := func(n token.EntryName) string {
		server.Do("FLUSHALL")
		s.Set(context.Background(), n, []byte(`{"sub":"somebody"}`), time.Minute)
		return server.Keys()[0]
	}
	myKey, otherKey, elsewhereKey := keyOf(mine), keyOf(other), keyOf(elsewhere)
	s.Set(context.Background(), mine, []byte(`{"sub":"me"}`), time.Minute)
	s.Set(context.Background(), other, []byte(`{"sub":"admin"}`), time.Minute)
	good := server.Do("GET", myKey).(string)
	rejected := func(what, value string, at string, n token.EntryName) {
		t.Helper()
		server.Do("SET", at, value)
		var rejected *token.RejectedError
		if got, err := s.Get(context.Background(), n); got != nil || !errors.As(err, &rejected) {
			t.Errorf("%s: got %q, %v", what, got, err)
		}
	}
	if strings.Contains(good, "me") {
		t.Errorf("the entry is readable: %q", good)
	}
	rejected("another token's", server.Do("GET", otherKey).(string), myKey, mine)
	rejected("moved to another provider", server.Do("GET", otherKey).(string), elsewhereKey, elsewhere)
	rejected("plain", `{"v":1,"sub":"admin"}`, myKey, mine)
	for i := range len(good) {
		flipped := []byte(good)
		flipped[i] ^= 1
		rejected("flipped", string(flipped), myKey, mine)
		if i > 0 {
			rejected("truncated", good[:i], myKey, mine)
		}
	}
	rejected("longer", good+"x", myKey, mine)
	server.Do("SET", myKey, good)
	want(t, "as it was", s, mine, `{"sub":"me"}`)

	want(t, "with another key", sealed(t, server, key+"x"), mine, "")
	// The nonce is new each time, and nothing tells two entries to be the same.
	s.Set(context.Background(), mine, []byte(`{"sub":"me"}`), time.Minute)
	if again := server.Do("GET", myKey).(string); again == good {
		t.Error("the same entry was sealed to the same bytes")
	}
}

func TestShortKey(t *testing.T) {
	for _, short := range []string{"", "x", key[:31]} {
		if _, err := shared.NewSealed(nil, []byte(short)); err == nil {
			t.Errorf("a key of %d bytes was taken", len(short))
		} else if short != "" && strings.Contains(err.Error(), short) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

package binding

import (
	"strings"
	"testing"
	"time"

	"scopeward/authz/redis"
	"scopeward/authz/token"
	"scopeward/internal/testenv/redistest"
	"scopeward/internal/testenv/tokentest"
)

// TestReplicasShareProofs: a proof counts once among replicas with one Redis; without it,
// each goes on by itself.
func TestReplicasShareProofs(t *testing.T) {
	server := redistest.Start(t)
	client := server.Connect(redis.Options{}, "?timeout=5s")
	for _, key := range []string{"", strings.Repeat("k", 32)} {
		replica := func() *Checker {
			s, err := NewShared(client, []byte(key))
			if err != nil {
				t.Fatal(err)
			}
			return New(Options{MaxAge: time.Minute, Shared: s})
		}
		one, two := replica(), replica()
		holder := tokentest.NewHolder(t, "ES256")
		bound := &token.Binding{Key: holder.Thumbprint()}
		shown := Shown{Scheme: token.DPoP, Method: "GET", URL: URL{"https", "a", "/"}, Proof: holder.Proof("GET", "https://a/", "t", nil, nil)}
		if _, err := one.Check(t.Context(), "t", bound, shown); err != nil {
			t.Fatal(err)
		}
		if _, err := two.Check(t.Context(), "t", bound, shown); checkOf(t, err) != CheckReplay {
			t.Errorf("at another replica: %v", err)
		}
		for _, name := range server.Keys() {
			if ttl, ok := server.Do("PTTL", name).(int64); !ok || ttl <= 0 || ttl > (3*time.Minute).Milliseconds() {
				t.Errorf("%s ends in %v ms", name, ttl)
			}
		}
	}
	client.Close()
	alone, err := NewShared(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	holder := tokentest.NewHolder(t, "ES256")
	c := New(Options{MaxAge: time.Minute, Shared: alone})
	shown := Shown{Scheme: token.DPoP, Method: "GET", URL: URL{"https", "a", "/"}, Proof: holder.Proof("GET", "https://a/", "t", nil, nil)}
	if _, err := c.Check(t.Context(), "t", &token.Binding{Key: holder.Thumbprint()}, shown); err != nil {
		t.Errorf("while Redis is down: %v", err)
	}
	if _, err := c.Check(t.Context(), "t", &token.Binding{Key: holder.Thumbprint()}, shown); checkOf(t, err) != CheckReplay {
		t.Errorf("again, while Redis is down: %v", err)
	}
}

// BenchmarkProof is what a request with a proof costs beside its known token.
func BenchmarkProof(b *testing.B) {
	holder := tokentest.NewHolder(b, "ES256")
	bound := &token.Binding{Key: holder.Thumbprint()}
	proof := holder.Proof("GET", "https://a/", "t", nil, nil)
	b.ReportAllocs()
	for b.Loop() {
		c := Checker{Options{MaxAge: time.Minute, Seen: NewMemory(1), Now: time.Now}}
		if _, err := c.Check(b.Context(), "t", bound, Shown{Scheme: token.DPoP, Method: "GET", URL: URL{"https", "a", "/"}, Proof: proof}); err != nil {
			b.Fatal(err)
		}
	}
}

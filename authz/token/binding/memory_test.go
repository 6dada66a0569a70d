package binding

import (
	"fmt"
	"testing"
	"time"

	"scopeward/authz/token/jwks"
)

func used(key, id string, issued time.Time) proof {
	return proof{key: jwks.Public{Thumbprint: key}, id: id, issued: issued}
}

// TestMemory: a proof is used once for as long as it may be, and forgotten after.
func TestMemory(t *testing.T) {
	m, now := NewMemory(100), time.Unix(1_000_000, 0)
	use := func(p proof, want outcome) {
		t.Helper()
		if got := m.use(p, now, time.Minute); got != want {
			t.Errorf("%s %s: %v, want %v", p.key.Thumbprint, p.id, got, want)
		}
	}
	one := used("key", "1", now)
	use(one, fresh)
	use(one, replayed)
	use(used("other", "1", now), fresh) // another client's
	use(used("key", "2", now), fresh)
	for range 12 {
		now = now.Add(5 * time.Second)
		use(one, replayed)
	}
	ahead := used("key", "3", now.Add(ahead))
	use(ahead, fresh)
	for range 18 { // until the checker refuses it by its age
		now = now.Add(5 * time.Second)
		use(ahead, replayed)
	}
	now = now.Add(time.Hour)
	for i := range 20 { // others look after what is left
		use(used(fmt.Sprint(i), "1", now), fresh)
	}
	if m.Len() != 20 || len(m.keys) != 20 {
		t.Errorf("it holds %d proofs of %d keys", m.Len(), len(m.keys))
	}
}

// TestMemoryIsBounded: who floods it harms nobody else, and nothing is used twice.
func TestMemoryIsBounded(t *testing.T) {
	m, now := NewMemory(1000), time.Unix(1_000_000, 0)
	honest := used("honest", "1", now)
	if m.use(honest, now, time.Minute) != fresh {
		t.Fatal("the first")
	}
	var all []proof
	for i := range 5000 {
		p := used("flood", fmt.Sprint(i), now.Add(time.Duration(i/100)*time.Second-20*time.Second))
		all = append(all, p)
		m.use(p, now, time.Minute)
	}
	if n := m.Len(); n > 1001 {
		t.Errorf("it holds %d proofs", n)
	}
	for _, p := range all {
		if m.use(p, now, time.Minute) == fresh {
			t.Fatalf("%s passes twice", p.id)
		}
	}
	if got := m.use(honest, now, time.Minute); got != replayed {
		t.Errorf("another client's proof: %v", got)
	}
	if got := m.use(used("honest", "2", now), now, time.Minute); got != fresh {
		t.Errorf("another client: %v", got)
	}
	if got := m.use(used("flood", "new", now.Add(30*time.Second)), now, time.Minute); got != fresh {
		t.Errorf("a new proof of the flooding client: %v", got)
	}
}

// TestMemoryOfManyKeys: with more keys than room there is an end.
func TestMemoryOfManyKeys(t *testing.T) {
	m, now := NewMemory(100), time.Unix(1_000_000, 0)
	last := fresh
	for i := range 1000 {
		last = m.use(used(fmt.Sprint(i), "1", now), now, time.Minute)
	}
	if last != full || m.Len() > 200 || len(m.keys) > 200 {
		t.Errorf("%v, %d proofs of %d keys", last, m.Len(), len(m.keys))
	}
	now = now.Add(2 * time.Minute)
	for i := range 1000 {
		if got := m.use(used(fmt.Sprint("later", i), "1", now), now, time.Minute); got != fresh && i < 100 {
			t.Fatalf("later, %d: %v", i, got)
		}
	}
}

// TestMemoryOfLongerAge: what was forgotten under a shorter max_age is not taken for new.
func TestMemoryOfLongerAge(t *testing.T) {
	m, now := NewMemory(100), time.Unix(1_000_000, 0)
	p, held := used("key", "1", now), used("key", "2", now.Add(60*time.Second))
	m.use(p, now, 10*time.Second)
	now = now.Add(60 * time.Second)
	m.use(held, now, 10*time.Second)
	if got := m.use(p, now, 10*time.Minute); got != forgotten {
		t.Errorf("%v", got)
	}
	now = now.Add(5 * time.Minute)
	if got := m.use(held, now, 10*time.Minute); got != replayed {
		t.Errorf("held: %v", got)
	}
}

func BenchmarkMemory(b *testing.B) {
	m, now := NewMemory(100_000), time.Now()
	i := 0
	for b.Loop() {
		now = now.Add(time.Millisecond)
		m.use(used(fmt.Sprint(i%1000), fmt.Sprint(i), now), now, time.Minute)
		i++
	}
}

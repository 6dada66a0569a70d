package token

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestScopesAreHeldOnce: those that many have are one list, and none is held that nobody has.
func TestScopesAreHeldOnce(t *testing.T) {
	text := t.Name() + " b"
	identity := func() *Identity { return (&Identity{Scopes: []string{t.Name(), "b"}}).compact() }
	first := identity()
	var others sync.WaitGroup
	for range 8 {
		others.Go(func() {
			if id := identity(); id.scopes != first.scopes || &id.Scopes[0] != &first.Scopes[0] || id.ScopeText() != text {
				t.Errorf("held again: %q, %q", id.Scopes, id.ScopeText())
			}
		})
	}
	others.Wait()
	runtime.KeepAlive(first)
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		runtime.GC()
		if _, held := scopeSets.Load(text); !held {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("still held")
		}
	}
	if id := identity(); id.ScopeText() != text || len(id.Scopes) != 2 {
		t.Errorf("after that: %q, %q", id.Scopes, id.ScopeText())
	}
}

// TestForgedScopesAreNotHeld: anybody can make up scopes, in tokens that nobody has signed.
func TestForgedScopesAreNotHeld(t *testing.T) {
	rules := Rules{Issuer: "i", Audiences: []string{"a"}}
	claims, err := NewClaims(map[string]any{"iss": "i", "aud": "a", "exp": float64(time.Now().Unix() + 100), "scope": t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	id, err := rules.Identity(claims)
	if err != nil || id.ScopeText() != t.Name() {
		t.Fatal(id, err)
	}
	if _, held := scopeSets.Load(t.Name()); held {
		t.Error("held before the signature was verified")
	}
}

// TestScopesComeAndGo: while sets are collected, everybody gets their own scopes.
func TestScopesComeAndGo(t *testing.T) {
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 2000 {
				scope := fmt.Sprintf("%s-%d", t.Name(), i%7)
				id := (&Identity{Scopes: []string{scope}}).compact()
				if g == 0 && i%50 == 0 {
					runtime.GC()
				}
				if id.Scopes[0] != scope || id.ScopeText() != scope {
					t.Errorf("got %q, want %q", id.Scopes, scope)
				}
			}
		})
	}
	all.Wait()
}

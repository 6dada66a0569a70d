package token_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"scopeward/authz/token"
)

// held is a store that holds one entry, whatever its name.
type held struct{ entry []byte }

func (h *held) Get(context.Context, token.EntryName) ([]byte, error) { return h.entry, nil }
func (h *held) Set(_ context.Context, _ token.EntryName, entry []byte, _ time.Duration) {
	h.entry = entry
}

// FuzzEntry: whatever is in a store, it is an identity that could have been
// verified and can be shared again, or nothing.
func FuzzEntry(f *testing.F) {
	store := &held{}
	replica := func(v token.Verifier) *token.Validator {
		opts := opaque(v)
		opts.Store, opts.Cache, opts.Now = store, token.NewCache(1, 0), func() time.Time { return now }
		return token.NewValidator(opts)
	}
	refusing := answering(nil, token.Invalidf("not in the store"))
	for _, id := range []*token.Identity{{}, {Subject: "alice", Scopes: []string{"read"}, Expiry: now.Add(time.Hour), KeyID: "k1"}} {
		store.entry = nil
		if _, err := replica(answering(id, nil)).Validate(f.Context(), "x", nil); err != nil {
			f.Fatal(err)
		}
		f.Add(store.entry)
	}
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, entry []byte) {
		store.entry = entry
		r, err := replica(refusing).Validate(t.Context(), "x", nil)
		if err != nil {
			return
		}
		if text := r.Identity.Subject + r.Identity.Email + r.Identity.ClientID; strings.ContainsAny(text, "\r\n\x00") {
			t.Errorf("a name with controls: %q", text)
		}
		if len(r.Identity.Scopes) > 0 && r.Identity.ScopeText() != strings.Join(r.Identity.Scopes, " ") {
			t.Errorf("scopes %q and %q", r.Identity.Scopes, r.Identity.ScopeText())
		}
		store.entry = nil
		if _, err := replica(answering(r.Identity, nil)).Validate(t.Context(), "x", nil); err != nil {
			t.Fatal(err)
		}
		again, err := replica(refusing).Validate(t.Context(), "x", nil)
		if err != nil {
			t.Fatalf("it can't be shared again: %v", err)
		}
		sameIdentity(t, r.Identity, again.Identity)
	})
}

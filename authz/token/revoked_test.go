package token_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"scopeward/authz/token"
)

// identityOf is alice's, of a token with these claims.
func identityOf(t testing.TB, claims map[string]any) *token.Identity {
	t.Helper()
	read, err := token.NewClaims(claims)
	if err != nil {
		t.Fatal(err)
	}
	id := &token.Identity{Provider: "idp", Subject: "alice", ClientID: "app"}
	id.SetClaims(read)
	return id
}

func TestRevoked(t *testing.T) {
	now := time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)
	claims := map[string]any{"sub": "alice", "jti": "one", "iat": now.Unix() - 60, "sid": "s1", "level": 3, "roles": []any{"dev", "ops"}, "admin": true}
	for name, c := range map[string]struct {
		entry   token.Revocation
		revoked bool
	}{
		"subject":               {token.Revocation{Kind: token.RevokedSubject, Value: "alice"}, true},
		"another subject":       {token.Revocation{Kind: token.RevokedSubject, Value: "alic"}, false},
		"jti":                   {token.Revocation{Kind: token.RevokedJTI, Value: "one"}, true},
		"another jti":           {token.Revocation{Kind: token.RevokedJTI, Value: "two"}, false},
		"client":                {token.Revocation{Kind: token.RevokedClient, Value: "app"}, true},
		"client is no subject":  {token.Revocation{Kind: token.RevokedClient, Value: "alice"}, false},
		"claim":                 {token.Revocation{Kind: token.RevokedClaim, Claim: "sid", Value: "s1"}, true},
		"another value":         {token.Revocation{Kind: token.RevokedClaim, Claim: "sid", Value: "s2"}, false},
		"absent claim":          {token.Revocation{Kind: token.RevokedClaim, Claim: "nix", Value: "s1"}, false},
		"number":                {token.Revocation{Kind: token.RevokedClaim, Claim: "level", Value: "3"}, true},
		"bool":                  {token.Revocation{Kind: token.RevokedClaim, Claim: "admin", Value: "true"}, true},
		"element of a list":     {token.Revocation{Kind: token.RevokedClaim, Claim: "roles", Value: "ops"}, true},
		"list as one text":      {token.Revocation{Kind: token.RevokedClaim, Claim: "roles", Value: "dev ops"}, false},
		"its provider":          {token.Revocation{Kind: token.RevokedSubject, Value: "alice", Provider: "idp"}, true},
		"another provider":      {token.Revocation{Kind: token.RevokedSubject, Value: "alice", Provider: "other"}, false},
		"issued before":         {token.Revocation{Kind: token.RevokedSubject, Value: "alice", IssuedBefore: now.Add(-59 * time.Second)}, true},
		"issued at that moment": {token.Revocation{Kind: token.RevokedSubject, Value: "alice", IssuedBefore: now.Add(-60 * time.Second)}, false},
		"still":                 {token.Revocation{Kind: token.RevokedSubject, Value: "alice", Until: now.Add(1)}, true},
		"no longer":             {token.Revocation{Kind: token.RevokedSubject, Value: "alice", Until: now}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.entry.Place = "revoked.yaml:3:5"
			v := answering(identityOf(t, claims), nil)
			opts := opaque(v)
			opts.Now, opts.Cache = func() time.Time { return now }, token.NewCache(10, 0)
			opts.Revoked = token.NewRevoked([]token.Revocation{c.entry})
			revoking := token.NewValidator(opts)
			opts.Revoked = nil
			without := token.NewValidator(opts) // the same cache
			for _, step := range []struct {
				validator *token.Validator
				revoked   bool
			}{{revoking, c.revoked}, {revoking, c.revoked}, {without, false}, {revoking, c.revoked}} {
				result, err := step.validator.Validate(t.Context(), "opaque", nil)
				var invalid *token.InvalidError
				if step.revoked != errors.As(err, &invalid) || step.revoked != (result.Identity == nil) || step.revoked != (result.Revoked != nil) {
					t.Fatalf("got %+v, %v", result, err)
				}
				if step.revoked && !strings.Contains(err.Error(), "it is revoked by revoked.yaml:3:5: "+c.entry.Kind) {
					t.Errorf("the reason does not name the entry: %v", err)
				}
				if _, known, err := step.validator.Known("opaque"); !known || step.revoked != (err != nil) {
					t.Errorf("Known: %v, %v", known, err)
				}
			}
			if v.calls.Load() != 1 {
				t.Errorf("the provider was asked %d times", v.calls.Load())
			}
			if d := revoking.Diagnose(t.Context(), "opaque"); c.revoked != (d.Err != nil) || d.Checks[len(d.Checks)-1].Name != token.CheckRevoked {
				t.Errorf("Diagnose: %+v", d)
			}
		})
	}
}

// TestRevokedWithoutAge: a token that doesn't say when it was issued may be of any age.
func TestRevokedWithoutAge(t *testing.T) {
	list := token.NewRevoked([]token.Revocation{{Kind: token.RevokedSubject, Value: "alice", IssuedBefore: time.Unix(1, 0)}})
	if list.Find(identityOf(t, map[string]any{}), time.Now) == nil || list.Find(&token.Identity{Subject: "alice"}, time.Now) == nil {
		t.Error("a token without iat passes")
	}
}

// manyRevoked has 100,000 entries of each kind's tables, of which none is about alice.
func manyRevoked() *token.Revoked {
	var entries []token.Revocation
	for i := range 25_000 {
		value := fmt.Sprint("user-", i)
		for _, kind := range []string{token.RevokedSubject, token.RevokedJTI, token.RevokedClient, token.RevokedClaim} {
			entries = append(entries, token.Revocation{Kind: kind, Claim: "sid", Value: value})
		}
	}
	return token.NewRevoked(entries)
}

func TestRevokedAllocations(t *testing.T) {
	list, id := manyRevoked(), identityOf(t, map[string]any{"sub": "alice", "sid": "s1", "jti": "one"})
	if n := testing.AllocsPerRun(100, func() { list.Find(id, time.Now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRevoked(b *testing.B) {
	list, id := manyRevoked(), identityOf(b, map[string]any{"sub": "alice", "sid": "s1", "jti": "one"})
	for b.Loop() {
		list.Find(id, time.Now)
	}
}

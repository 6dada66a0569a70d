package apikey

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"maps"
	"strings"
	"time"

	"scopeward/authz/token"
)

// Verifier knows the keys of a file. The zero value refuses every key. It answers from
// memory, so its answers need no cache.
type Verifier struct {
	provider string
	issuer   string
	now      func() time.Time
	keys     map[[sha256.Size]byte]key
}

type key struct {
	sum      [sha256.Size]byte
	identity *token.Identity
}

// New makes a verifier of entries that [Parse] has read. now is the clock of expiry;
// default time.Now.
func New(provider, issuer string, entries []Entry, now func() time.Time) (*Verifier, error) {
	if now == nil {
		now = time.Now
	}
	v := &Verifier{provider: provider, issuer: issuer, now: now, keys: make(map[[sha256.Size]byte]key, len(entries))}
	for _, e := range entries {
		sum, err := hex.DecodeString(e.SHA256)
		if err != nil {
			return nil, err
		}
		id, err := v.identity(e)
		if err != nil {
			return nil, err
		}
		k := key{sum: [sha256.Size]byte(sum), identity: id}
		v.keys[k.sum] = k
	}
	return v, nil
}

// identity is what requests with the key carry.
func (v *Verifier) identity(e Entry) (*token.Identity, error) {
	id := &token.Identity{Provider: v.provider, Issuer: v.issuer, Subject: e.ID, Scopes: e.Scopes, Expiry: e.Expires}
	claims := map[string]any{"sub": e.ID, "scope": strings.Join(e.Scopes, " ")}
	maps.Copy(claims, e.Claims)
	stated, err := token.NewClaims(claims)
	if err != nil {
		return nil, err
	}
	id.SetClaims(stated)
	return id, nil
}

// Diagnose implements [token.Diagnoser].
func (v *Verifier) Diagnose(ctx context.Context, t *token.Token) []token.Check {
	_, err := v.Verify(ctx, t)
	return []token.Check{{Name: token.CheckAPIKey, Err: err}}
}

// Verify implements [token.Verifier].
func (v *Verifier) Verify(_ context.Context, t *token.Token) (*token.Identity, error) {
	if strings.HasPrefix(t.Raw, Prefix) && !wellFormed(t.Raw) {
		return nil, token.Invalidf("it is no whole API key: its checksum is wrong, as after a typing mistake")
	}
	// The table is asked by a hash, of which timing tells nothing of use; the comparison
	// is in constant time all the same.
	sum := sha256.Sum256([]byte(t.Raw))
	k, ok := v.keys[sum]
	switch {
	case !ok || subtle.ConstantTimeCompare(k.sum[:], sum[:]) != 1:
		return nil, token.Invalidf("it is no API key of this service: it was never made, or was revoked")
	case !k.identity.Expiry.IsZero() && !v.now().Before(k.identity.Expiry):
		return nil, token.Invalidf("the API key has expired (expires)")
	}
	return k.identity, nil
}

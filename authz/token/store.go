package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A Store is where replicas share identities, behind the [Cache] of each. Only
// identities are shared, no refusals: those are cheap to find out, would let
// anybody fill the store, and one replica's mistake would be everyone's.
//
// Get returns what Set was last given under a name, nil if there is nothing, a
// *[RejectedError] if what is there can't be what Set was given, or another error
// if that can't be told now. Both are called concurrently, return within a short
// time whatever happens to the store, and never keep a token.
//
// Whoever can write to where a store keeps its entries can take entries away.
// Whether they can also make some is the implementation's to say.
type Store interface {
	Get(ctx context.Context, name EntryName) ([]byte, error)
	Set(ctx context.Context, name EntryName, entry []byte, ttl time.Duration)
}

// EntryName names an entry of a [Store].
type EntryName struct {
	Provider string            // its CacheKey
	Token    [sha256.Size]byte // SHA-256 of the token
}

// RejectedError says that an entry of a [Store] is damaged, forged, or somebody
// else's.
type RejectedError struct{ Reason string }

func (e *RejectedError) Error() string { return "rejected an entry of the shared store: " + e.Reason }

// entry is how an identity is written down. What is not of this version is not
// read: replicas of another version share with each other.
type entry struct {
	Version  int            `json:"v"`
	Until    time.Time      `json:"until"` // by the clock of who stored it
	Issuer   string         `json:"iss"`
	Subject  string         `json:"sub"`
	ClientID string         `json:"client_id"`
	Email    string         `json:"email"`
	Scopes   []string       `json:"scopes"`
	Expiry   time.Time      `json:"exp,omitzero"`
	KeyID    string         `json:"key"`
	Bound    *Binding       `json:"bound,omitempty"`
	Claims   jsontext.Value `json:"claims"`
}

// Version 1 had lost digits of large numbers. Replicas of version 2 don't know of
// [Identity.Bound], and would take such a token from whoever has it.
const entryVersion = 3

func encodeEntry(id *Identity, until time.Time) ([]byte, error) {
	return json.Marshal(entry{
		Version: entryVersion, Until: until, Issuer: id.Issuer, Subject: id.Subject, ClientID: id.ClientID, Email: id.Email,
		Scopes: id.Scopes, Expiry: id.Expiry, KeyID: id.KeyID, Bound: id.Bound, Claims: id.json(),
	})
}

// decodeEntry takes only what a verifier's answer could have been encoded to. The
// identity's provider is the caller's to set.
func decodeEntry(data []byte) (id *Identity, until time.Time, err error) {
	var e entry
	if err := json.Unmarshal(data, &e, json.RejectUnknownMembers(true)); err != nil {
		return nil, until, errors.New("it is not an entry")
	}
	claims, err := ReadClaims(e.Claims)
	scopes := cleanScopes(e.Scopes)
	switch {
	case e.Version != entryVersion:
		return nil, until, errors.New("it is of another version")
	case err != nil || !slices.Equal(scopes, e.Scopes):
		return nil, until, errors.New("its claims or scopes are malformed")
	}
	for _, name := range []string{e.Subject, e.ClientID, e.Email} {
		if strings.ContainsFunc(name, isControl) || spaceAtEnds(name) {
			return nil, until, errors.New("a name contains control characters, or white space at an end")
		}
	}
	id = &Identity{Issuer: e.Issuer, Subject: e.Subject, ClientID: unique.Make(e.ClientID).Value(), Email: e.Email, Expiry: e.Expiry, KeyID: e.KeyID}
	if id.Bound, err = claims.Binding(); err != nil || !id.Bound.Same(e.Bound) {
		return nil, until, errors.New("what it is bound to is malformed, or not what its claims say")
	}
	id.Scopes = scopes
	id.SetClaims(claims)
	return id, e.Until, nil
}

// How a look into the store ended.
const (
	StoreHit      = "hit"
	StoreMiss     = "miss"
	StoreStale    = "stale"    // it has ended, or its key was withdrawn
	StoreRejected = "rejected" // see [RejectedError]
	StoreFailed   = "failed"   // the store could not be asked
)

// clocksApart is by how much the clocks of replicas may differ. An entry whose
// clock is further ahead would live longer than it should.
const clocksApart = time.Minute

// recall looks for an identity that another replica has found out. Its life is
// what is left of that which began when the token was verified.
func (v *Validator) recall(ctx context.Context, p Provider, raw string) (id *Identity, ttl time.Duration) {
	data, err := v.opts.Store.Get(ctx, EntryName{p.CacheKey, sha256.Sum256([]byte(raw))})
	id, ttl, outcome := v.judge(p, data, err)
	v.opts.ObserveStore(outcome)
	return id, ttl
}

func (v *Validator) judge(p Provider, data []byte, err error) (id *Identity, ttl time.Duration, outcome string) {
	var rejected *RejectedError
	switch {
	case errors.As(err, &rejected):
		return nil, 0, StoreRejected
	case err != nil:
		return nil, 0, StoreFailed
	case data == nil:
		return nil, 0, StoreMiss
	}
	id, until, err := decodeEntry(data)
	now := v.opts.Now()
	if err != nil || until.Sub(now) > v.opts.TTL+clocksApart {
		return nil, 0, StoreRejected
	}
	id.Provider = p.Name
	if ttl = min(v.lifetime(id, now), until.Sub(now)); ttl <= 0 || !hasKey(p.Verifier, id.KeyID) {
		return nil, 0, StoreStale
	}
	return id, ttl, StoreHit
}

// share lets the other replicas know what was verified here.
func (v *Validator) share(ctx context.Context, p Provider, raw string, id *Identity) {
	now := v.opts.Now()
	ttl := v.lifetime(id, now)
	if ttl <= 0 {
		return
	}
	data, err := encodeEntry(id, now.Add(ttl))
	if err != nil { // claims that are no JSON, which no verifier makes
		return
	}
	v.opts.Store.Set(ctx, EntryName{p.CacheKey, sha256.Sum256([]byte(raw))}, data, ttl)
}

// lifetime is how long an identity may be believed from now on.
func (v *Validator) lifetime(id *Identity, now time.Time) time.Duration {
	if id.Expiry.IsZero() {
		return v.opts.TTL
	}
	return min(v.opts.TTL, id.Expiry.Sub(now))
}

// shared finds out whether another replica knows the token. One that no provider
// takes is not looked for.
func (v *Validator) shared(ctx context.Context, key [16]byte, t *Token) (*Identity, Provider, bool) {
	if v.opts.Store == nil || v.opts.TTL <= 0 {
		return nil, Provider{}, false
	}
	p, err := v.route(t)
	if err != nil || p.Uncached {
		return nil, Provider{}, false
	}
	id, ttl := v.recall(ctx, p, t.Raw)
	if id == nil {
		return nil, Provider{}, false
	}
	under := cacheKey(prefix(p), key)
	v.keep(string(under[:]), id, ttl)
	return id, p, true
}

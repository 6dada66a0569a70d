package token

import (
	"crypto/sha256"
	"time"
	"unsafe"

	"scopeward/authz/boundedcache"
)

// Cache holds what is known of tokens: identities and refusals, each up to a
// bound. Validators that follow each other may share one, so that a change of
// configuration doesn't cost the identities of providers that stay the same.
type Cache struct {
	valid   *boundedcache.Cache[accepted]
	invalid *boundedcache.Cache[refused]
	excused *boundedcache.Cache[time.Duration] // see stale.go
	epoch   time.Time                          // begin of the cache's time
}

// NewCache makes a cache for so many identities, and as many refusals, that takes no more
// than maxBytes in all; 0 sets no bound of bytes.
func NewCache(maxEntries int, maxBytes int64) *Cache {
	side := boundedcache.Bounds{Entries: maxEntries, Bytes: maxBytes / 8}
	most := boundedcache.Bounds{Entries: maxEntries, Bytes: maxBytes - 2*side.Bytes}
	return &Cache{
		valid:   boundedcache.New(most, accepted.size),
		invalid: boundedcache.New(side, refused.size),
		excused: boundedcache.New[time.Duration](side, nil), epoch: time.Now(),
	}
}

// Len tells how many identities and refusals it holds.
func (c *Cache) Len() (valid, invalid int) { return c.valid.Len(), c.invalid.Len() }

// Bytes is what its identities and refusals take in memory.
func (c *Cache) Bytes() (valid, invalid int64) {
	return c.valid.Bytes() + c.excused.Bytes(), c.invalid.Bytes()
}

// Sweep frees what has expired. Until then, or until it is in the way, that is held.
func (c *Cache) Sweep() {
	c.valid.Sweep()
	c.invalid.Sweep()
	c.excused.Sweep()
}

// size is what the identity takes: its fields, and the claims with those that may yet be
// kept as text. Issuer, ClientID and KeyID are those of others too; so are the scopes, but
// each token may have its own.
func (a accepted) size() int {
	id := a.identity
	if id == nil {
		return 0
	}
	n := int(unsafe.Sizeof(*id)) + len(id.Subject) + len(id.Email) + len(id.ClientID)
	for _, scope := range id.Scopes {
		n += len(scope) + 2 + int(unsafe.Sizeof(scope))
	}
	if id.Bound != nil {
		n += int(unsafe.Sizeof(*id.Bound)) + len(id.Bound.Key) + len(id.Bound.Certificate)
	}
	if id.claims != nil {
		n += int(unsafe.Sizeof(*id.claims)) + len(id.claims.rest) + maxAsked + id.claims.noted.size()
	}
	return n + n/8 // sizes of the allocator are up to an eighth larger
}

func (r refused) size() int { return int(unsafe.Sizeof(*r.err)) + len(r.err.Reason) }

// accepted is what is known of a valid token, and refused of another. Until is by the
// monotonic clock, since the cache's epoch.
type (
	accepted struct {
		identity *Identity
		until    time.Duration
	}
	refused struct {
		err   *InvalidError
		until time.Duration
	}
)

// clock is the time since the cache's epoch by the monotonic clock: a wall clock that is
// set back must not lengthen the life of an entry. (One that is set forward, or a machine
// that slept, ends entries by the wall clock of boundedcache.)
func (c *Cache) clock(now time.Time) time.Duration { return now.Sub(c.epoch) }

// hash names a token in the cache: 128 bits of SHA-256. To be taken for somebody
// else takes a second preimage of their token's hash, not a collision.
func hash(raw string) (key [16]byte) {
	// The bytes are only read: a copy of the token would be most of what a hit
	// allocates.
	sum := sha256.Sum256(unsafe.Slice(unsafe.StringData(raw), len(raw)))
	copy(key[:], sum[:])
	return key
}

// prefix tells the providers apart in a cache key.
func prefix(p Provider) (short [8]byte) {
	if p.CacheKey != "" {
		sum := sha256.Sum256([]byte(p.CacheKey))
		copy(short[:], sum[:])
	}
	return short
}

// cacheKey is 24 bytes: as many as the compiler makes a map key of without
// allocating.
func cacheKey(provider [8]byte, token [16]byte) (key [24]byte) {
	copy(key[:], provider[:])
	copy(key[8:], token[:])
	return key
}

// cached looks for the token under each provider's name: there are few, and to
// know the right one would take parsing the token.
func (v *Validator) cached(key [16]byte) (Result, error, bool) {
	now := v.opts.Now()
	clock := v.opts.Cache.clock(now)
	for i := range v.opts.Providers {
		p, key := &v.opts.Providers[i], cacheKey(v.prefixes[i], key)
		if c, ok := v.opts.Cache.valid.Get(string(key[:])); ok && alive(p, c, now) {
			if clock < c.until {
				return Result{Identity: c.identity, Provider: p.Name, Cache: CacheHit}, nil, true
			}
			if v.isExcused(key, c, clock) {
				return Result{Identity: c.identity, Provider: p.Name, Cache: CacheStale}, nil, true
			}
		}
		if c, ok := v.opts.Cache.invalid.Get(string(key[:])); ok && clock < c.until {
			return Result{Provider: p.Name, Cache: CacheHit}, c.err, true
		}
	}
	none := cacheKey(prefix(Provider{}), key)
	if c, ok := v.opts.Cache.invalid.Get(string(none[:])); ok && clock < c.until {
		return Result{Cache: CacheHit}, c.err, true
	}
	return Result{}, nil, false
}

// alive tells whether a cached token has not ended by itself, nor its key been withdrawn.
func alive(p *Provider, c accepted, now time.Time) bool {
	return (c.identity.Expiry.IsZero() || now.Before(c.identity.Expiry)) && hasKey(p.Verifier, c.identity.KeyID)
}

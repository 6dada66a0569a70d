package binding

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"scopeward/authz/redis"
)

// Shared remembers proofs in a Redis that several replicas use, beside the [Memory] of
// each: while Redis is down, each goes on with what it has seen itself.
type Shared struct {
	client *redis.Client
	names  []byte
}

// NewShared makes a shared memory. With a key, nobody who reads that Redis can tell whose
// proofs they are.
func NewShared(client *redis.Client, key []byte) (*Shared, error) {
	if len(key) == 0 {
		return &Shared{client, nil}, nil
	}
	names, err := hkdf.Key(sha256.New, key, nil, "scopeward DPoP 1: proofs", sha256.Size)
	return &Shared{client, names}, err
}

// clocksApart is by how much the clocks of replicas may differ.
const clocksApart = time.Minute

// use remembers a proof, and reports whether no replica has seen it, as far as Redis can
// tell.
func (s *Shared) use(ctx context.Context, p proof, now time.Time, maxAge time.Duration) (fresh bool) {
	h := hmac.New(sha256.New, s.names)
	name := p.name()
	h.Write(name[:])
	key := "scopeward:dpop:1:" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
	ttl := p.issued.Add(maxAge).Sub(now) + clocksApart
	fresh = true
	err := s.client.Do(ctx, redis.Proof, func(ctx context.Context, r goredis.Cmdable) error {
		set, err := r.SetNX(ctx, key, "", ttl).Result()
		if err == nil {
			fresh = set
		}
		return err
	})
	return err != nil || fresh
}

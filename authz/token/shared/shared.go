// Package shared keeps identities in a Redis that several replicas use. Its two
// stores differ in whom they trust: [Plain] everybody who can write to that Redis,
// [Sealed] only who has the key.
package shared

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"scopeward/authz/redis"
	"scopeward/authz/token"
)

// maxEntry bounds an entry in bytes, as it is kept: the identity of the longest
// token fits. Of a longer one, whoever wrote it, no more is read.
const maxEntry = 64 << 10

// Plain is a [token.Store] whose entries are as readable and as forgeable as that
// Redis: who can write to it can make himself anybody.
type Plain struct{ client *redis.Client }

// NewPlain makes a store.
func NewPlain(client *redis.Client) *Plain { return &Plain{client} }

// Get implements [token.Store].
func (p *Plain) Get(ctx context.Context, name token.EntryName) ([]byte, error) {
	return get(ctx, p.client, p.key(name))
}

// Set implements [token.Store].
func (p *Plain) Set(ctx context.Context, name token.EntryName, entry []byte, ttl time.Duration) {
	set(ctx, p.client, p.key(name), entry, ttl)
}

func (p *Plain) key(name token.EntryName) string {
	sum := sha256.Sum256(bytesOf(name))
	return keyOf("plain", sum[:])
}

// bytesOf tells a name from every other: the token's hash has a fixed length.
func bytesOf(name token.EntryName) []byte { return append(name.Token[:], name.Provider...) }

// keyOf is the key in Redis. The kinds of stores don't meet, nor do the versions of
// entries: replicas of another version share with each other.
func keyOf(kind string, name []byte) string {
	return "scopeward:identity:3:" + kind + ":" + base64.RawURLEncoding.EncodeToString(name)
}

// get reads an entry up to its bound.
func get(ctx context.Context, client *redis.Client, key string) ([]byte, error) {
	var value string
	err := client.Do(ctx, redis.Read, func(ctx context.Context, r goredis.Cmdable) (err error) {
		value, err = r.GetRange(ctx, key, 0, maxEntry).Result()
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case value == "":
		return nil, nil
	case len(value) > maxEntry:
		return nil, &token.RejectedError{Reason: "it is too long"}
	default:
		return []byte(value), nil
	}
}

// set stores an entry. If Redis doesn't take it, the next replica verifies anew.
func set(ctx context.Context, client *redis.Client, key string, value []byte, ttl time.Duration) {
	if len(value) > maxEntry || ttl < time.Millisecond {
		return
	}
	_ = client.Do(ctx, redis.Write, func(ctx context.Context, r goredis.Cmdable) error {
		return r.Set(ctx, key, value, ttl).Err()
	})
}

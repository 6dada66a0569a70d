package ratelimit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"scopeward/authz/boundedcache"
	"scopeward/authz/redis"
)

// Shared is a [Limiter] with fixed windows in a Redis: those who use the same one
// have one limit. The clock is that of Redis. While Redis gives no answer, each
// counts in its own memory, where it has counted all along.
type Shared struct {
	client *redis.Client
	local  *Memory
	script *goredis.Script
	spent  *boundedcache.Cache[time.Time] // until when Redis has refused a key
}

// NewShared makes a limiter. The options' MaxKeys and Now are those of the memory.
func NewShared(client *redis.Client, opts Options) *Shared {
	opts.Bytes /= 2
	local := NewMemory(opts)
	bounds := boundedcache.Bounds{Entries: cmp.Or(max(opts.MaxKeys, 0), defaultMaxKeys), Bytes: opts.Bytes}
	return &Shared{client, local, goredis.NewScript(countScript), boundedcache.New[time.Time](bounds, nil)}
}

// countScript counts one use of KEYS[1] if that is allowed, in one step: at most
// ARGV[1] in a window of ARGV[2] ms, which is how long the key lives. What makes no
// sense, whoever wrote it, begins afresh: no key stays for ever, and no window is
// longer than it should be. It answers whether the use is allowed, how many are
// left, and in how many ms the window ends.
const countScript = `
local max, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local used, left = tonumber(redis.call('GET', KEYS[1])), redis.call('PTTL', KEYS[1])
if not used or used < 1 or used % 1 ~= 0 or left < 1 or left > window then
  redis.call('SET', KEYS[1], 1, 'PX', window)
  return {1, max - 1, window}
end
if used >= max then
  return {0, 0, left}
end
return {1, max - redis.call('INCR', KEYS[1]), left}
`

// Allow implements [Limiter].
func (s *Shared) Allow(ctx context.Context, key string) Result {
	local := s.local.Allow(ctx, key)
	if s.local.max <= 0 || s.local.length <= 0 {
		return local
	}
	result, err := s.ask(ctx, key)
	if err != nil {
		result = local
	}
	if result.MostlyValid = local.MostlyValid; !result.OK {
		s.spent.Set(key, s.local.now().Add(result.Reset), result.Reset)
	}
	return result
}

// ask lets Redis count.
func (s *Shared) ask(ctx context.Context, key string) (Result, error) {
	window := max(s.local.length.Milliseconds(), 1)
	var reply []int64
	err := s.client.Do(ctx, redis.Limit, func(ctx context.Context, r goredis.Cmdable) (err error) {
		reply, err = s.script.Run(ctx, r, []string{name(key)}, s.local.max, window).Int64Slice()
		return err
	})
	if err == nil && len(reply) != 3 {
		err = errors.New("redis answered something else")
	}
	if err != nil {
		return Result{}, err
	}
	return Result{
		OK: reply[0] == 1, Limit: s.local.max, Remaining: int(reply[1]),
		Reset: time.Duration(reply[2]) * time.Millisecond, Window: s.local.length,
	}, nil
}

// Peek implements [Limiter]: it refuses a key that Redis has refused, which takes no call.
func (s *Shared) Peek(key string) Result {
	result := s.local.Peek(key)
	until, spent := s.spent.Get(key)
	left := until.Sub(s.local.now())
	if result.OK = s.local.max > 0 && s.local.length > 0; spent && 0 < left && left <= s.local.length {
		result.OK, result.Remaining, result.Reset = false, 0, left
	}
	return result
}

// Valid implements [Limiter].
func (s *Shared) Valid(key string, counted bool) { s.local.Valid(key, counted) }

// name is the key in Redis: addresses of clients are not kept there in the clear.
func name(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "scopeward:limit:1:" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Len is the number of keys that this process counts; Redis may know more.
func (s *Shared) Len() int { return s.local.Len() }

// Bytes is what this process needs for them.
func (s *Shared) Bytes() int64 { return s.local.Bytes() + s.spent.Bytes() }

// Sweep frees what is over.
func (s *Shared) Sweep() {
	s.local.Sweep()
	s.spent.Sweep()
}

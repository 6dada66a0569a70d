package token

import "time"

// excuseFor is how long an identity whose provider can't tell is believed before the
// provider is asked about it again: each request would wait for it otherwise, and count
// as a validation.
const excuseFor = 30 * time.Second

// excuse believes an identity for a little longer whose time in the cache is over, if its
// provider can't tell now (RFC 5861 has stale-if-error for it). It ends with MaxStale,
// with the token's own expiry, with the key that the provider withdraws, and as soon as
// the provider refuses the token.
func (v *Validator) excuse(key [16]byte) (Result, bool) {
	if v.opts.MaxStale <= 0 {
		return Result{}, false
	}
	now := v.opts.Now()
	clock := v.opts.Cache.clock(now)
	for i := range v.opts.Providers {
		p, key := &v.opts.Providers[i], cacheKey(v.prefixes[i], key)
		c, ok := v.opts.Cache.valid.Get(string(key[:]))
		if !ok || !alive(p, c, now) || clock >= c.until+v.opts.MaxStale {
			continue
		}
		v.opts.Cache.excused.Set(string(key[:]), clock+excuseFor, excuseFor)
		return Result{Identity: c.identity, Provider: p.Name, Cache: CacheStale}, true
	}
	return Result{}, false
}

// isExcused tells whether the provider need not be asked yet about an identity whose
// time is over.
func (v *Validator) isExcused(key [24]byte, c accepted, clock time.Duration) bool {
	if clock >= c.until+v.opts.MaxStale {
		return false
	}
	until, ok := v.opts.Cache.excused.Get(string(key[:]))
	return ok && clock < until
}

// Package ratelimit limits how often something may be done per key, such as
// token validations per client address.
package ratelimit

import (
	"context"
	"net/netip"
	"time"

	"scopeward/authz/boundedcache"
)

// Limiter decides whether one more is allowed for a key. A window begins with a key's first
// use; refusals don't extend it. It is for concurrent use.
type Limiter interface {
	// Allow counts one if that is allowed. It answers within a short time whatever happens:
	// [Memory] at once, [Shared] within the time that its Redis is given.
	Allow(ctx context.Context, key string) Result
	// Peek tells at once, as far as this process knows, what Allow would, and counts nothing.
	Peek(key string) Result
	// Valid notes that a key brought a valid token, and whether that was counted by Allow.
	Valid(key string, counted bool)
}

// Result is a limiter's answer, in the terms of the RateLimit header fields. The
// zero value refuses.
type Result struct {
	OK        bool
	Limit     int           // allowed per window
	Remaining int           // left in this window
	Reset     time.Duration // until the window ends
	Window    time.Duration // the window's length

	// MostlyValid tells that most of what the key brought in this window were valid tokens.
	MostlyValid bool
}

// Options configure a [Memory] limiter. With Max or Window <= 0 it allows nothing.
type Options struct {
	Max     int           // allowed per key and window
	Window  time.Duration // begins with a key's first use
	MaxKeys int           // bound of the keys that are counted; default 100,000
	Bytes   int64         // bound of what they take in memory; default: none

	// Now is the clock, default time.Now. Steps of the wall clock do not count.
	Now func() time.Time
}

// Memory is a [Limiter] with fixed windows in this process's memory. When more
// than MaxKeys keys are counted at once, the longest known start afresh.
type Memory struct {
	max     int
	length  time.Duration
	now     func() time.Time
	windows *boundedcache.Cache[window]
}

type window struct {
	start time.Time
	used  int
	valid int // of those used
	free  int // valid tokens beside those used
}

const defaultMaxKeys = 100_000

// NewMemory makes a limiter.
func NewMemory(opts Options) *Memory {
	if opts.MaxKeys <= 0 {
		opts.MaxKeys = defaultMaxKeys
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Memory{opts.Max, opts.Window, opts.Now, boundedcache.New[window](boundedcache.Bounds{Entries: opts.MaxKeys, Bytes: opts.Bytes}, nil)}
}

// Allow implements [Limiter].
func (m *Memory) Allow(_ context.Context, key string) (result Result) {
	if m.max <= 0 || m.length <= 0 {
		return Result{Limit: max(m.max, 0), Reset: max(m.length, 0), Window: max(m.length, 0)}
	}
	now := m.now()
	m.windows.Update(key, func(w window, ok bool) (window, time.Duration) {
		if !ok || m.over(w, now) {
			w = window{start: now}
		}
		allowed := w.used < m.max
		if allowed {
			w.used++
		}
		result = m.result(w, now)
		result.OK = allowed
		return w, result.Reset
	})
	return result
}

// Peek implements [Limiter].
func (m *Memory) Peek(key string) Result {
	now := m.now()
	w, ok := m.windows.Get(key)
	if !ok || m.over(w, now) {
		w = window{start: now}
	}
	result := m.result(w, now)
	result.OK = w.used < m.max && m.length > 0
	return result
}

// Valid implements [Limiter]. It begins no window: a key that nothing was counted for takes
// no memory.
func (m *Memory) Valid(key string, counted bool) {
	now := m.now()
	m.windows.Update(key, func(w window, ok bool) (window, time.Duration) {
		if !ok || m.over(w, now) {
			return w, 0
		}
		if counted {
			w.valid++
		} else {
			w.free++
		}
		return w, m.length - now.Sub(w.start)
	})
}

// over reports whether a window has ended. A start in the future is a clock that was set
// back: better begin afresh than refuse for however long that is.
func (m *Memory) over(w window, now time.Time) bool {
	age := now.Sub(w.start)
	return age >= m.length || age < 0
}

func (m *Memory) result(w window, now time.Time) Result {
	return Result{
		Limit: max(m.max, 0), Remaining: max(m.max-w.used, 0), Reset: max(m.length-now.Sub(w.start), 0), Window: max(m.length, 0),
		MostlyValid: 2*(w.valid+w.free) > w.used+w.free,
	}
}

// Len is the number of keys that are counted.
func (m *Memory) Len() int { return m.windows.Len() }

// Bytes is what they take in memory.
func (m *Memory) Bytes() int64 { return m.windows.Bytes() }

// Sweep frees the windows that are over.
func (m *Memory) Sweep() { m.windows.Sweep() }

// Key is what a client address counts as: an IPv4 address (also an IPv6-mapped
// one) whole, an IPv6 address by its /64, which is what one customer gets
// (RFC 6177); "" if it is no IP address.
func Key(clientIP string) string {
	addr, err := netip.ParseAddr(clientIP)
	if err != nil {
		return ""
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return ""
	}
	return prefix.String()
}

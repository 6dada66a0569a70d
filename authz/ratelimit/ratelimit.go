// Package ratelimit limits how often something may be done per key, such as
// token validations per client address.
package ratelimit

import (
	"net/netip"
	"time"

	"scopeward/authz/boundedcache"
)

// Limiter decides whether one more is allowed for a key, and counts it if so. A
// window begins with a key's first use; refusals don't extend it. Allow is called
// concurrently, and answers within a short time whatever happens: [Memory] at once,
// [Shared] within the time that its Redis is given.
type Limiter interface {
	Allow(key string) Result
}

// Result is a limiter's answer, in the terms of the RateLimit header fields. The
// zero value refuses.
type Result struct {
	OK        bool
	Limit     int           // allowed per window
	Remaining int           // left in this window
	Reset     time.Duration // until the window ends
	Window    time.Duration // the window's length
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
}

// NewMemory makes a limiter.
func NewMemory(opts Options) *Memory {
	if opts.MaxKeys <= 0 {
		opts.MaxKeys = 100_000
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Memory{opts.Max, opts.Window, opts.Now, boundedcache.New[window](boundedcache.Bounds{Entries: opts.MaxKeys, Bytes: opts.Bytes}, nil)}
}

// Allow implements [Limiter].
func (m *Memory) Allow(key string) Result {
	if m.max <= 0 || m.length <= 0 {
		return Result{Limit: max(m.max, 0), Reset: max(m.length, 0), Window: max(m.length, 0)}
	}
	result := Result{Limit: m.max, Window: m.length}
	now := m.now()
	m.windows.Update(key, func(w window, ok bool) (window, time.Duration) {
		// A start in the future is a clock that was set back: begin afresh rather
		// than refuse for however long that is.
		if age := now.Sub(w.start); !ok || age >= m.length || age < 0 {
			w = window{start: now}
		}
		if w.used < m.max {
			w.used++
			result.OK = true
		}
		result.Remaining = m.max - w.used
		result.Reset = m.length - now.Sub(w.start)
		return w, result.Reset
	})
	return result
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

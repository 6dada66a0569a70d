// Package ratelimit limits how often something may be done per key.
package ratelimit

import "time"

// Limiter decides whether one more is allowed for a key.
type Limiter interface {
	Allow(key string) Result
}

// Result is a limiter's answer.
type Result struct {
	OK        bool
	Limit     int           // allowed per window
	Remaining int           // left in this window
	Reset     time.Duration // until the window ends
	Window    time.Duration // the window's length
}

// Options configure a [Memory] limiter. With Max or Window <= 0 it allows nothing.
type Options struct {
	Max     int
	Window  time.Duration
	MaxKeys int              // bound of the keys that are counted; default 100,000
	Now     func() time.Time // default time.Now
}

// Memory is a [Limiter] with fixed windows in this process's memory.
type Memory struct{ opts Options }

// NewMemory makes a limiter.
func NewMemory(opts Options) *Memory { return &Memory{opts} }

// Allow implements [Limiter].
func (m *Memory) Allow(key string) Result { return Result{Limit: m.opts.Max, Window: m.opts.Window} }

// Key is what a client address counts as: an IPv4 address (also an IPv6-mapped
// one) whole, an IPv6 address by its /64; "" if it is no IP address.
func Key(clientIP string) string { return "" }

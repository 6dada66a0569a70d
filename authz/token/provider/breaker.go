package provider

import (
	"math/rand/v2"
	"sync"
	"time"
)

// What the circuit breaker does of itself.
const (
	tripAfter  = 5                // failures in a row, and the provider is left alone
	firstPause = time.Second      // the first time, doubling
	lastPause  = 10 * time.Second // up to this; each is shortened at random by up to a half
	// maxPause bounds what a provider can ask for by Retry-After: it may mean one
	// user only, who must not shut out the others for long.
	maxPause = time.Minute
)

// breaker keeps requests from a provider that is sick, so that they don't keep it
// from getting well. It opens after failures in a row, or when the provider says
// that it wants to be left alone; then it lets one request pass as a probe, whose
// success closes it.
type breaker struct {
	now func() time.Time

	mu       sync.Mutex
	failures int       // in a row
	trips    int       // in a row
	until    time.Time // not before; zero while it is closed
	probing  bool      // a probe is under way
	reason   string    // the latest failure, since the last success
	missing  bool      // it is that the endpoint is not there
	fault    Fault
}

// Fault is the latest failure of an endpoint, also if it is well again. The zero value
// is none.
type Fault struct {
	Reason string
	At     time.Time
}

// pass is one request's leave to be sent.
type pass struct{ probe bool }

// enter tells whether a request may be sent, or how long to wait. Who may must
// call succeeded, failed or left.
func (b *breaker) enter() (p pass, wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait, ok = b.closedOrDue(); ok && !b.until.IsZero() {
		p.probe, b.probing = true, true
	}
	return p, wait, ok
}

// succeeded notes an answer. It tells whether the breaker was open. What was sent
// before it opened says nothing of how the provider is now.
func (b *breaker) succeeded(p pass) (closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.until.IsZero() && !p.probe {
		return false
	}
	closed = p.probe
	b.failures, b.trips, b.until, b.probing, b.reason, b.missing = 0, 0, time.Time{}, false, "", false
	return closed
}

// failure is how a request failed.
type failure struct {
	reason  string
	asked   time.Duration // for how long the provider wants to be left alone
	missing bool          // the endpoint is not there
}

// failed notes a failure. It tells whether the breaker has opened by that.
func (b *breaker) failed(p pass, f failure) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wasOpen := !b.until.IsZero()
	b.reason, b.missing, b.fault = f.reason, f.missing, Fault{f.reason, b.now()}
	if p.probe {
		b.probing = false
	}
	if wasOpen && !p.probe && f.asked <= 0 {
		return false
	}
	b.failures++
	pause := min(f.asked, maxPause)
	if p.probe || !wasOpen && b.failures >= tripAfter {
		pause = max(pause, jittered(min(firstPause<<min(b.trips, 10), lastPause)))
		b.trips++
	}
	if pause <= 0 {
		return false
	}
	if until := b.now().Add(pause); until.After(b.until) {
		b.until = until
	}
	return !wasOpen
}

// left notes that the caller did not wait for an answer.
func (b *breaker) left(p pass) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.probe {
		b.probing = false
	}
}

// peek tells whether enter would let a request pass now.
func (b *breaker) peek() (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closedOrDue()
}

// closedOrDue is called with the lock held.
func (b *breaker) closedOrDue() (wait time.Duration, ok bool) {
	switch wait := b.until.Sub(b.now()); {
	case b.until.IsZero():
		return 0, true
	case wait > 0:
		return wait, false
	default:
		return time.Second, !b.probing
	}
}

// state reports whether the provider is up: an endpoint that is not there is not, however
// often it was asked.
func (b *breaker) state() (up bool, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until.IsZero() && !b.missing, b.reason
}

func (b *breaker) lastFault() Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fault
}

// jittered takes up to a half, so that many instances do not ask in step.
func jittered(d time.Duration) time.Duration { return d - rand.N(d/2+1) }

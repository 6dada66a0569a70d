package provider

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"scopeward/authz/token"
)

const (
	warnEvery  = time.Minute // of one class
	maxClasses = 64
)

// Warnings log why tokens can't be told, each class of it at most once a minute: whoever
// sends a token can cause one.
type Warnings struct {
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	classes map[string]*class
}

type class struct {
	at      time.Time
	skipped int // since then
}

// NewWarnings makes one; now is by default time.Now.
func NewWarnings(log *slog.Logger, now func() time.Time) *Warnings {
	if now == nil {
		now = time.Now
	}
	return &Warnings{log: log, now: now, classes: map[string]*class{}}
}

// Unavailable logs an *[token.UnavailableError], but not that of a request that was not
// sent: the client has said once that it leaves the provider alone. Other errors are of
// tokens, and not logged.
func (w *Warnings) Unavailable(message string, err error) {
	unavailable, ok := errors.AsType[*token.UnavailableError](err)
	if !ok || errors.Is(err, ErrSkipped) {
		return
	}
	skipped, ok := w.due(unavailable.Reason)
	if !ok {
		return
	}
	attrs := []any{slog.Any("error", unavailable)}
	if skipped > 0 {
		attrs = append(attrs, slog.Int("more_since", skipped))
	}
	w.log.Warn(message, attrs...)
}

// due reports whether a warning of the class is to be logged, and how many were not.
func (w *Warnings) due(name string) (skipped int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	c := w.classes[name]
	switch {
	case c == nil && len(w.classes) >= maxClasses:
		return 0, false
	case c == nil:
		w.classes[name] = &class{at: now}
		return 0, true
	case now.Sub(c.at) < warnEvery:
		c.skipped++
		return 0, false
	default:
		skipped, c.at, c.skipped = c.skipped, now, 0
		return skipped, true
	}
}

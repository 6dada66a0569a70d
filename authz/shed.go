package authz

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"scopeward/authz/token"
)

// shedding is the share of the work that is refused at once, since there is more than can
// be done. Its zero value refuses nothing.
type shedding struct{ share atomic.Uint32 } // in 1/1000 of the validations; of all, beyond 1000

// Shed sets the share of the requests that get 503 at once, from 0 to 1: up to a half of
// it, those whose token would have to be validated; beyond it, any.
func (s *Server) Shed(share float64) { s.shedding.share.Store(uint32(2000 * min(max(share, 0), 1))) }

// Shedding tells whether any requests are refused since the service is overloaded.
func (s *Server) Shedding() bool { return s.shedding.share.Load() > 0 }

// validation tells whether to refuse a request whose token is not known.
func (s *shedding) validation() bool { return drawn(s.share.Load()) }

// any tells whether to refuse a request.
func (s *shedding) any() bool {
	share := s.share.Load()
	return share > 1000 && drawn(share-1000)
}

func drawn(share uint32) bool { return share > 0 && rand.Uint32N(1000) < share }

// hopeless is the error of a request for which nothing is done: its Envoy has given up, or
// there is too much else to do. It is nil for all others.
func (s *Server) hopeless(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return &token.UnavailableError{Reason: "Envoy has given up", RetryAfter: time.Second, Err: err}
	}
	if s.shedding.any() {
		return s.refuse("all")
	}
	return nil
}

// refuse makes the error of a request that is shed.
func (s *Server) refuse(work string) error {
	s.metrics.shed.WithLabelValues(work).Inc()
	return &token.UnavailableError{Reason: "the service is overloaded", RetryAfter: time.Second}
}

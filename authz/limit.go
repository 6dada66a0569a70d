package authz

import (
	"context"
	"log/slog"

	"scopeward/authz/ratelimit"
	"scopeward/authz/token"
)

// Limit bounds the token validations of one client. Its zero value sets no
// bound.
type Limit struct {
	Limiter ratelimit.Limiter
	// EveryRequest counts each request that needs a token; otherwise only tokens that are
	// refused, or that a provider is asked about.
	EveryRequest bool
	// Waits says that the Limiter asks another process, so that a request waits for it.
	Waits bool
}

// admission is what a client may have validated; nil is anything. One without an IP
// address (a Unix socket) is not limited, for it could only be limited together with all
// others.
func (s *Server) admission(l Limit, client string) *token.Admission {
	key := ratelimit.Key(client)
	if l.Limiter == nil || key == "" || l.EveryRequest {
		return nil
	}
	return &token.Admission{
		Peek:   func() error { return s.limited(l.Limiter.Peek(key)) },
		Charge: func(ctx context.Context) error { return s.limited(l.Limiter.Allow(ctx, key)) },
		Valid:  func(charged bool) { l.Limiter.Valid(key, charged) },
	}
}

// charge counts a request of a client.
func (s *Server) charge(ctx context.Context, l Limit, client string) error {
	key := ratelimit.Key(client)
	if l.Limiter == nil || key == "" {
		return nil
	}
	return s.limited(l.Limiter.Allow(ctx, key))
}

// limited is the error of a limiter's answer. The first time that a client is limited that
// brought valid tokens as a rule, it is logged: many people are behind it.
func (s *Server) limited(r ratelimit.Result) error {
	if r.OK {
		return nil
	}
	if r.MostlyValid && !s.notices.crowd.Load() && !s.notices.crowd.Swap(true) {
		s.log.Warn("a client is limited most of whose tokens are valid: it may be a proxy with many users behind it; "+
			"set rate_limit.trusted_hops to the number of proxies in front of Envoy, or raise rate_limit.max",
			slog.Int("max", r.Limit), slog.Duration("window", r.Window))
	}
	return &limitedError{r}
}

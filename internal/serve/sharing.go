package serve

import (
	"context"

	"scopeward/authz/redis"
	"scopeward/authz/token"
	"scopeward/authz/token/shared"
	"scopeward/internal/config"
)

// sharing is what replicas have in common. Two that are equal share alike.
type sharing struct {
	limits     *connection   // of rate_limit.redis; nil without
	identities *connection   // of cache.redis; nil without
	store      token.Store   // in identities
	key        config.Secret // of store
}

// connection is a Redis of the configuration. Where both settings name the same
// one, they have one connection.
type connection struct {
	*redis.Client
	stop func() // nil until it has begun
}

// share makes what the settings ask for, and takes over what is running and has
// not changed.
func (s *service) share(settings config.Sharing, running sharing) (sharing, error) {
	known := running.connections()
	connect := func(url redis.URL) *connection {
		if !url.Set() {
			return nil
		}
		for _, r := range known {
			if r.URL().Same(url) {
				return r
			}
		}
		r := &connection{Client: redis.New(url, redis.Options{Logger: s.log, Observe: s.redis.Observe})}
		known = append(known, r)
		return r
	}
	next := sharing{limits: connect(settings.Limits), identities: connect(settings.Identities), key: settings.Key}
	switch {
	case next.identities == nil:
		next.key = ""
	case next.identities == running.identities && next.key == running.key:
		next.store = running.store
	case next.key == "":
		next.store = shared.NewPlain(next.identities.Client)
	default:
		sealed, err := shared.NewSealed(next.identities.Client, []byte(next.key))
		if err != nil {
			return sharing{}, err
		}
		next.store = sealed
	}
	return next, nil
}

// connections are those in use, each once.
func (s sharing) connections() (list []*connection) {
	if s.limits != nil {
		list = append(list, s.limits)
	}
	if s.identities != nil && s.identities != s.limits {
		list = append(list, s.identities)
	}
	return list
}

// start begins to watch over Redis, if that has not begun yet; run gives a function
// a goroutine.
func (r *connection) start(ctx context.Context, run func(func() error)) {
	if r.stop != nil {
		return
	}
	ctx, r.stop = context.WithCancel(ctx)
	run(func() error { r.Run(ctx); return nil })
}

// end is for a connection that no configuration names any more.
func (r *connection) end() {
	if r.stop != nil {
		r.stop()
	}
	r.Close()
}

func (r *connection) waitTried(ctx context.Context) error {
	select {
	case <-r.Tried():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *connection) tried() bool {
	select {
	case <-r.Tried():
		return true
	default:
		return false
	}
}

package main

import (
	"context"
	"fmt"

	"scopeward/authz/redis"
	"scopeward/authz/token"
	"scopeward/authz/token/shared"
	"scopeward/internal/strictyaml"
)

// sharing is what replicas have in common. Two that are equal share alike.
type sharing struct {
	limits     *connection // of rate_limit.redis; nil without
	identities *connection // of cache.redis; nil without
	store      token.Store // in identities
	key        string      // of store
}

// connection is a Redis of the configuration. Where both settings name the same
// one, they have one connection.
type connection struct {
	*redis.Client
	stop func() // nil until it has begun
}

// sharingSettings are the settings, with secrets resolved.
type sharingSettings struct {
	limits, identities redis.URL
	key                string
}

// sharing reads the settings, and the files that hold them if it is told to. It
// asks no Redis. What is there must not be empty: a key that came from an unset
// variable would protect nothing.
func (c *Config) sharing(files bool) (s sharingSettings, problems strictyaml.Problems) {
	resolve := func(what string, l strictyaml.Located[secret], use func(string) error) {
		if l.Pos.Line == 0 || !files && l.Value.inFile() {
			return
		}
		value, err := l.Value.resolve(c.dir())
		if err == nil {
			err = use(value)
		}
		if err != nil {
			problems = append(problems, strictyaml.Problem{Pos: l.Pos, Message: fmt.Sprintf("%s: %v", what, err)})
		}
	}
	url := func(u *redis.URL) func(string) error {
		return func(value string) (err error) { *u, err = redis.ParseURL(value); return err }
	}
	resolve("rate_limit.redis", c.RateLimit.Redis, url(&s.limits))
	resolve("cache.redis", c.Cache.Redis, url(&s.identities))
	resolve("cache.key", c.Cache.Key, func(value string) error {
		s.key = value
		_, err := shared.NewSealed(nil, []byte(value))
		return err
	})
	if c.RateLimit.Count.Value == "off" {
		s.limits = redis.URL{}
	}
	return s, problems
}

// sharingWarnings are what an operator should know of settings that are allowed.
func (c *Config) sharingWarnings() (warnings strictyaml.Problems) {
	s, _ := c.sharing(true)
	warn := func(l strictyaml.Located[secret], text string) {
		warnings = append(warnings, strictyaml.Problem{Pos: l.Pos, Message: text})
	}
	if s.identities.Set() && s.key == "" {
		warn(c.Cache.Redis, "cache.redis has no cache.key: whoever can write to that Redis can make himself anybody")
	}
	for _, use := range []struct {
		at  strictyaml.Located[secret]
		url redis.URL
	}{{c.Cache.Redis, s.identities}, {c.RateLimit.Redis, s.limits}} {
		if use.url.Readable() {
			warn(use.at, "Redis is asked without TLS: others on the network can read its password, and answer in its place; use rediss://")
		}
	}
	return warnings
}

// share makes what the settings ask for, and takes over what is running and has
// not changed.
func (s *service) share(c *Config, running sharing) (sharing, error) {
	settings, problems := c.sharing(true)
	if err := problems.Err(); err != nil {
		return sharing{}, err
	}
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
	next := sharing{limits: connect(settings.limits), identities: connect(settings.identities), key: settings.key}
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

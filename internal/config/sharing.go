package config

import (
	"scopeward/authz/redis"
	"scopeward/authz/token/shared"
	"scopeward/internal/strictyaml"
)

// readSharing resolves what replicas share. It asks no Redis. What is there must not be
// empty: a key that came from an unset variable would protect nothing.
func (v *validator) readSharing(d *document, files bool) Sharing {
	var s Sharing
	resolve := func(what string, l strictyaml.Located[Secret], use func(string) error) {
		if l.Pos.Line == 0 || !files && l.Value.file(d.dir()) != "" {
			return
		}
		value, err := l.Value.resolve(d.dir())
		if err == nil {
			err = use(string(value))
		}
		if err != nil {
			v.add(l.Pos, "%s: %v", what, err)
		}
	}
	url := func(u *redis.URL) func(string) error {
		return func(value string) (err error) { *u, err = redis.ParseURL(value); return err }
	}
	resolve("rate_limit.redis", d.RateLimit.Redis, url(&s.Limits))
	resolve("cache.redis", d.Cache.Redis, url(&s.Identities))
	resolve("cache.key", d.Cache.Key, func(value string) error {
		s.Key = Secret(value)
		_, err := shared.NewSealed(nil, []byte(value))
		return err
	})
	if d.RateLimit.Count.Value == "off" {
		s.Limits = redis.URL{}
	}
	s.warn(d)
	return s
}

// warn notes what an operator should know of settings that are allowed.
func (s *Sharing) warn(d *document) {
	warn := func(l strictyaml.Located[Secret], text string) {
		s.Warnings = append(s.Warnings, strictyaml.Problem{Pos: l.Pos, Message: text})
	}
	if s.Identities.Set() && s.Key == "" {
		warn(d.Cache.Redis, "cache.redis has no cache.key: whoever can write to that Redis can make himself anybody")
	}
	for _, use := range []struct {
		at  strictyaml.Located[Secret]
		url redis.URL
	}{{d.Cache.Redis, s.Identities}, {d.RateLimit.Redis, s.Limits}} {
		if use.url.Readable() {
			warn(use.at, "Redis is asked without TLS: others on the network can read its password, and answer in its place; use rediss://")
		}
	}
}

package serve

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"scopeward/authz/redis"
	"scopeward/internal/config"
)

// inFolder writes a configuration, with files that it names, into a folder of its
// own, and loads it.
func inFolder(t *testing.T, settings string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"scopeward.yaml": "providers:\n  - {name: a, issuer: https://a.example.com, audiences: [a], jwks: {file: jwks.json}}\npolicy: [p.yaml]\n" + settings,
		"jwks.json":      `{"keys":[]}`,
		"p.yaml":         "version: 1\nrules: []\n",
		"cache.key":      strings.Repeat("k", 40) + "\n",
		"redis.url":      "redis://:hunter2@127.0.0.1:6379\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Read(config.Options{File: filepath.Join(dir, "scopeward.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What has not changed is taken over; what has is made anew.
func TestSharingIsTakenOver(t *testing.T) {
	s := &service{log: slog.New(slog.DiscardHandler), redis: redis.NewMetrics(prometheus.NewRegistry())}
	share := func(running sharing, settings string) sharing {
		t.Helper()
		next, err := s.share(inFolder(t, settings).Sharing, running)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	none := share(sharing{}, "")
	if none != (sharing{}) || len(none.connections()) != 0 {
		t.Errorf("without Redis: %+v", none)
	}
	const both = "cache: {redis: file:redis.url, key: file:cache.key}\nrate_limit: {redis: 'redis://:hunter2@127.0.0.1:6379'}"
	first := share(sharing{}, both)
	if first.limits != first.identities || len(first.connections()) != 1 || first.store == nil {
		t.Errorf("two uses of one Redis: %+v", first)
	}
	if again := share(first, both); again != first {
		t.Errorf("nothing changed: %+v, then %+v", first, again)
	}
	otherKey := share(first, strings.Replace(both, "file:cache.key", strings.Repeat("x", 32), 1))
	if otherKey.identities != first.identities || otherKey.store == first.store {
		t.Errorf("another key: %+v, then %+v", first, otherKey)
	}
	otherPassword := share(first, strings.Replace(both, "'redis://:hunter2@", "'redis://:hunter3@", 1))
	if otherPassword.identities != first.identities || otherPassword.limits == first.limits || otherPassword.store != first.store || len(otherPassword.connections()) != 2 {
		t.Errorf("another password for one use: %+v, then %+v", first, otherPassword)
	}
}

// Replicas know a provider by the same name, wherever their files are, if what
// makes its identities good is the same.
func TestReplicasAgreeOnProviders(t *testing.T) {
	key := func(c *config.Config) string {
		return c.Providers[0].ID
	}
	same := key(inFolder(t, ""))
	if other := key(inFolder(t, "cache: {max_entries: 7, redis: file:redis.url, key: file:cache.key}\nrealm: other")); other != same {
		t.Errorf("%s and %s", same, other)
	}
	for _, settings := range []string{"cache: {ttl: 1m}", "cache: {negative_ttl: 1s}"} {
		if key(inFolder(t, settings)) == same {
			t.Errorf("%s makes no difference", settings)
		}
	}
	c := inFolder(t, "")
	if err := os.WriteFile(c.Providers[0].JWKS.File, []byte(`{"keys":[{}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := config.Read(config.Options{File: filepath.Join(filepath.Dir(c.Providers[0].JWKS.File), "scopeward.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	if key(again) == same {
		t.Error("other keys in the file make no difference")
	}
}

package e2e

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/redistest"
	"scopeward/internal/testenv/tokentest"
)

// Canaries must not be seen anywhere.
const (
	redisPassword = "canary-of-redis"
	cacheKey      = "canary-of-the-cache-key-0123456789"
)

// startReplicas runs two Scopewards with one configuration, each behind a listener of
// one Envoy.
func startReplicas(t *testing.T, idp *tokentest.Provider, mode string, config map[string]any) [2]*system {
	t.Helper()
	var pair [2]*system
	var targets []target
	up := newUpstream(t)
	for i, name := range []string{"a", "b"} {
		s := &system{idp: idp, dir: t.TempDir()}
		s.config = corpus.Configure(t, s.dir, mode, idp, config, map[string]string{"policy.yaml": usersPolicy})
		s.scopeward = serve(t, "--config", s.config)
		pair[i] = s
		targets = append(targets, target{name: name, authz: s.grpc})
	}
	addresses := startEnvoy(t, up.Listener.Addr().String(), targets)
	for i, s := range pair {
		s.url = "http://" + addresses[targets[i].name]
	}
	return pair
}

// shared is a configuration with one Redis for all. With patience, calls of Redis
// may take as long as a busy machine needs.
func shared(server *redistest.Server, patience string, limit int) map[string]any {
	return map[string]any{
		"cache":      map[string]any{"redis": server.URL() + patience, "key": cacheKey},
		"rate_limit": map[string]any{"redis": server.URL() + patience, "max": limit},
	}
}

const patient = "?timeout=5s"

// user mints a token of a user of its own.
func (s *system) user(name string) string { return s.idp.Mint(map[string]any{"sub": name}, nil) }

// TestReplicasShareIdentities: what one replica has validated, the other knows,
// without asking the provider, even while that is down.
func TestReplicasShareIdentities(t *testing.T) {
	for _, mode := range []string{"profile", "jwks+profile", "introspection"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			pair := startReplicas(t, tokentest.New(t), mode, shared(redistest.Start(t), patient, 100))
			a, b := pair[0], pair[1]
			known := a.user("alice")
			a.want(t, "/users", known, 200)
			a.idp.Fail(tokentest.ProfilePath, tokentest.Down)
			a.idp.Fail(tokentest.IntrospectionPath, tokentest.Down)
			b.want(t, "/users", known, 200)
			b.want(t, "/users", b.user("bob"), 503)
			event := b.event(t, "alice")
			if event["cache"] != "hit" || event["provider"] != "idp" {
				t.Errorf("the audit says %v", event)
			}
			if page := b.page(t, "/metrics"); !strings.Contains(page, `scopeward_shared_cache_lookups_total{result="hit"} 1`) {
				t.Errorf("the metrics lack the hit:\n%s", grep(page, "shared"))
			}
		})
	}
}

// event waits for the audit event of a user.
func (s *system) event(t *testing.T, user string) (event map[string]any) {
	t.Helper()
	eventually(t, "the audit event of "+user, func() bool {
		for line := range strings.Lines(s.stdout.String()) {
			if strings.Contains(line, `"userId":"`+user+`"`) && json.Unmarshal([]byte(line), &event) == nil {
				return true
			}
		}
		return false
	})
	return event
}

func grep(text, what string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, what) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// TestOneLimitOverReplicas: a client has its share once, wherever it asks; what the
// other replica knows is no validation.
func TestOneLimitOverReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	pair := startReplicas(t, tokentest.New(t), "jwks+profile", shared(server, patient, 5))
	a, b := pair[0], pair[1]
	first := a.user("first")
	a.want(t, "/users", first, 200)
	for i := range 4 {
		b.want(t, "/users", first, 200) // known by sharing
		b.want(t, "/users", b.user(fmt.Sprint("user", i)), 200)
	}
	for _, s := range pair {
		status, header := s.status(t, "/users", s.user("late"))
		if status != 429 || header.Get("Retry-After") == "" || header.Get("RateLimit-Limit") == "" {
			t.Errorf("the sixth token got %d with %v", status, header)
		}
		s.want(t, "/users", first, 200)
	}
	for _, key := range server.Keys() {
		if left := server.Do("PTTL", key).(int64); left <= 0 {
			t.Errorf("%s stays for ever", key)
		}
	}
}

// TestHerdOverReplicas: a thousand requests with one new token, at two replicas,
// are at most one look-up of each.
func TestHerdOverReplicas(t *testing.T) {
	t.Parallel()
	idp, config := tokentest.New(t), shared(redistest.Start(t), patient, 100)
	config["providers"] = []any{map[string]any{ // patient too: it shares this process with a thousand clients
		"name": "idp", "issuer": idp.URL, "validation": "profile", "audiences": []string{tokentest.Audience}, "opaque": false, "timeout": "4s",
	}}
	pair := startReplicas(t, idp, "profile", config)
	token := pair[0].user("alice")
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() { pair[i%2].want(t, "/users", token, 200) })
	}
	wg.Wait()
	if n := pair[0].idp.Requests(tokentest.ProfilePath); n > 2 {
		t.Errorf("%d look-ups", n)
	}
}

// TestRedisFaults: while Redis fails, every answer is right and comes in time, it
// is said, and Redis is used again once it is well, without a restart.
func TestRedisFaults(t *testing.T) {
	for _, fault := range []struct {
		name        string
		begin, done func(*redistest.Server)
		says        string // on /readyz
		up          string
	}{
		{"killed", (*redistest.Server).Kill, func(s *redistest.Server) { s.Restart() }, "refused", "0"},
		{"frozen", (*redistest.Server).Freeze, (*redistest.Server).Thaw, "does not answer in time", "0"},
		{"another password", func(s *redistest.Server) { s.Stop(); s.Restart("--requirepass", "another") },
			func(s *redistest.Server) { s.Stop(); s.Restart("--requirepass", redisPassword) }, "WRONGPASS", "0"},
		{"out of memory", func(s *redistest.Server) { s.Do("CONFIG", "SET", "maxmemory", "1") },
			func(s *redistest.Server) { s.Do("CONFIG", "SET", "maxmemory", "0") }, "refuses to limit: OOM", "1"},
		{"failed over", func(s *redistest.Server) { s.Do("REPLICAOF", "127.0.0.1", "1") },
			func(s *redistest.Server) { s.Do("REPLICAOF", "NO", "ONE") }, "refuses to limit: READONLY", "1"},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, "--requirepass", redisPassword)
			pair := startReplicas(t, tokentest.New(t), "profile", shared(server, "?timeout=100ms", 10_000))
			a, b := pair[0], pair[1]
			known := a.user("known")
			a.want(t, "/users", known, 200)

			fault.begin(server)
			start := time.Now()
			for i := range 8 {
				for _, s := range pair {
					s.want(t, "/users", s.user(fmt.Sprint("new", i)), 200)
					s.want(t, "/users", "garbage", 401)
				}
				a.want(t, "/users", known, 200)
			}
			// If each of the 40 requests waited for its calls, it would be 12 s.
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("the requests took %v", took)
			}
			for _, s := range pair {
				eventually(t, "it is said", func() bool { return strings.Contains(s.page(t, "/readyz"), fault.says) })
				if err := s.get("/readyz", http.StatusOK); err != nil {
					t.Error(err)
				}
				if page := s.page(t, "/metrics"); strings.Count(page, "scopeward_redis_up{use=\"cache\"} "+fault.up)+strings.Count(page, "scopeward_redis_up{use=\"rate_limit\"} "+fault.up) != 2 {
					t.Errorf("the metrics say:\n%s", grep(page, "redis_up"))
				}
			}

			fault.done(server)
			n := 0
			eventually(t, "the replicas share again", func() bool {
				n++
				token := a.user(fmt.Sprint("again", n))
				before := b.idp.Requests(tokentest.ProfilePath)
				a.want(t, "/users", token, 200)
				b.want(t, "/users", token, 200)
				return b.idp.Requests(tokentest.ProfilePath) == before+1
			})
		})
	}
}

// TestRedisDownAtStart: it starts, says so, and shares once Redis is there.
func TestRedisDownAtStart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	pair := startReplicas(t, tokentest.New(t), "profile", shared(server, patient, 1000))
	a, b := pair[0], pair[1]
	a.want(t, "/users", a.user("early"), 200)
	if log := a.stderr.String(); strings.Count(log, "Redis can't be used") != 1 {
		t.Errorf("the log says:\n%s", log)
	}
	server.Restart()
	n := 0
	eventually(t, "the replicas share", func() bool {
		n++
		token := a.user(fmt.Sprint("user", n))
		before := b.idp.Requests(tokentest.ProfilePath)
		a.want(t, "/users", token, 200)
		b.want(t, "/users", token, 200)
		return b.idp.Requests(tokentest.ProfilePath) == before+1
	})
}

// TestSharingIsEdited: Redis comes, its password changes and the key changes, all
// without a restart, and what replicas know by themselves stays.
func TestSharingIsEdited(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", redisPassword)
	s := start(t, "profile", nil)
	known := s.user("known")
	s.want(t, "/users", known, 200)

	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("redis.url", server.URL()+patient)
	write("cache.key", cacheKey)
	replace(t, s.config, "policy: policies", `policy: policies
cache: {redis: "file:redis.url", key: "file:cache.key"}
rate_limit: {redis: "file:redis.url"}`)
	n := 0
	kept := func() int {
		n++
		server.Do("FLUSHALL")
		s.want(t, "/users", s.user(fmt.Sprint("user", n)), 200)
		return len(server.Keys())
	}
	eventually(t, "Redis is used, for both", func() bool { return kept() == 2 })

	write("redis.url", strings.Replace(server.URL(), redisPassword, "wrong", 1))
	eventually(t, "the wrong password is in use", func() bool { return kept() == 0 })
	write("redis.url", server.URL()+patient)
	eventually(t, "the right password is in use", func() bool { return kept() == 2 })

	write("cache.key", cacheKey+"2")
	eventually(t, "the key is in use", func() bool { return strings.Count(s.stderr.String(), "the files were loaded") >= 4 })
	write("cache.key", "short")
	eventually(t, "the mistake is said", func() bool { return strings.Contains(s.stderr.String(), "a key of 5 bytes is too short") })
	if n := kept(); n != 2 {
		t.Errorf("with a broken key on disk, %d keys in Redis", n)
	}
	write("cache.key", cacheKey+"2")

	replace(t, s.config, `rate_limit: {redis: "file:redis.url"}`, "")
	eventually(t, "Redis counts no more", func() bool { return kept() == 1 })
	requests := s.idp.Requests(tokentest.ProfilePath)
	s.want(t, "/users", known, 200)
	if s.idp.Requests(tokentest.ProfilePath) != requests {
		t.Error("an identity was lost with an edit that does not concern it")
	}
}

// TestSharingShowsNoSecrets: not the password, not the key, not a token, not in
// Redis, in no state of things.
func TestSharingShowsNoSecrets(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", redisPassword)
	s := start(t, "profile", shared(server, patient, 1000))
	token := s.user("canary-of-a-user")
	look := func(when string) {
		t.Helper()
		shown := s.stdout.String() + s.stderr.String()
		for _, page := range []string{"/", "/healthz", "/readyz", "/metrics", "/config"} {
			shown += s.page(t, page)
		}
		for _, canary := range []string{redisPassword, cacheKey, token, strings.Split(token, ".")[2]} {
			if strings.Contains(shown, canary) {
				t.Errorf("%s, %q is shown", when, canary)
			}
		}
	}
	s.want(t, "/users", token, 200)
	look("with Redis")
	for _, key := range server.Keys() {
		kept := key + fmt.Sprint(server.Do("GET", key))
		for _, canary := range []string{redisPassword, cacheKey, token, "canary-of-a-user", "127.0.0.1"} {
			if strings.Contains(kept, canary) {
				t.Errorf("Redis has %q under %s", canary, key)
			}
		}
	}
	if config := s.page(t, "/config"); strings.Count(config, `"redis": "(secret)"`) != 2 || strings.Count(config, `"key": "(secret)"`) != 1 {
		t.Errorf("the page of the configuration says:\n%s", config)
	}

	server.Stop()
	server.Restart("--requirepass", "another")
	eventually(t, "the wrong password is said", func() bool {
		s.want(t, "/users", s.user("another"), 200)
		return strings.Contains(s.page(t, "/readyz"), "WRONGPASS")
	})
	look("with another password")
	server.Stop()
	eventually(t, "it is said that Redis is down", func() bool { return strings.Contains(s.page(t, "/readyz"), "refused") })
	look("without Redis")
}

// TestRedisOverTLS: rediss:// is TLS, with the certificate checked.
func TestRedisOverTLS(t *testing.T) {
	server := redistest.Start(t, "--requirepass", redisPassword)
	trusted, roots := redisOverTLS(t, server.Addr)
	t.Setenv("SSL_CERT_FILE", roots)
	config := func(addr string) map[string]any {
		return map[string]any{"cache": map[string]any{"redis": "rediss://:" + redisPassword + "@" + addr + "/3" + patient, "key": cacheKey}}
	}
	s := start(t, "profile", config(trusted))
	s.want(t, "/users", s.user("alice"), 200)
	if got := fmt.Sprint(server.Do("INFO", "keyspace")); !strings.Contains(got, "db3:keys=1") {
		t.Errorf("Redis has %q", got)
	}

	// The same server under a name that its certificate lacks.
	_, port, _ := strings.Cut(trusted, ":")
	s = start(t, "profile", config("localhost:"+port))
	s.want(t, "/users", s.user("alice"), 200)
	if page := s.page(t, "/readyz"); !strings.Contains(page, "certificate") {
		t.Errorf("it is not said what is wrong: %s", page)
	}
}

// redisOverTLS puts TLS in front of an address, for 127.0.0.1. It returns its own
// address, and a file with the certificate.
func redisOverTLS(t *testing.T, to string) (address, roots string) {
	t.Helper()
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	roots = filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certified.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certified.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer server.Close()
				go func() { _, _ = io.Copy(server, client); server.Close() }()
				_, _ = io.Copy(client, server)
			}()
		}
	}()
	return l.Addr().String(), roots
}

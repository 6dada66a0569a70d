package token_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"scopeward/authz/redis"
	"scopeward/authz/token"
	"scopeward/authz/token/shared"
	"scopeward/internal/testenv/redistest"
	"scopeward/internal/testenv/tokentest"
)

// replicas share a store: each has its own cache, verifier and clock.
type replicas struct {
	server *redistest.Server
	store  token.Store
	looks  []string // how looks into the store ended, of the replicas made last
	mu     sync.Mutex
}

func eachStore(t *testing.T, test func(t *testing.T, r *replicas)) {
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		test(t, &replicas{server: server, store: shared.NewPlain(server.Connect(redis.Options{}, "?timeout=5s"))})
	})
	t.Run("sealed", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		store, err := shared.NewSealed(server.Connect(redis.Options{}, "?timeout=5s"), []byte(strings.Repeat("k", 32)))
		if err != nil {
			t.Fatal(err)
		}
		test(t, &replicas{server: server, store: store})
	})
}

// replica makes a validator for one provider; change may change its options.
func (r *replicas) replica(v token.Verifier, clock *time.Time, change func(*token.Options)) *token.Validator {
	opts := opaque(v)
	opts.Store = r.store
	if clock != nil {
		opts.Now = func() time.Time { return *clock }
	}
	opts.ObserveStore = func(outcome string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.looks = append(r.looks, outcome)
	}
	if change != nil {
		change(&opts)
	}
	return token.NewValidator(opts)
}

func (r *replicas) lastLook() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.looks[len(r.looks)-1]
}

// person is an identity with all that one can have.
func person(t *testing.T, exp time.Time) *token.Identity {
	t.Helper()
	rules := token.Rules{Provider: "idp", Issuer: "https://idp.test", AnyAudience: true, Now: func() time.Time { return exp.Add(-time.Minute) }}
	id, err := rules.Identity(tokentest.Decoded(map[string]any{
		"iss": "https://idp.test", "sub": "alice", "email": "alice@example.com", "client_id": "web", "scope": "read write", "exp": float64(exp.Unix()),
		"org_code": "o1", "big": 12345678901234567890.0, "nested": map[string]any{"a": []any{"ü", nil, true, 1.5}}, "empty": map[string]any{},
		"cnf": map[string]any{"jkt": strings.Repeat("k", 42) + "A", "x5t#S256": strings.Repeat("c", 42) + "A"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	id.KeyID = "k1"
	for field, value := range reflect.ValueOf(*id).Fields() {
		if value.IsZero() && field.Name != "scopes" { // how Scopes are held
			t.Fatalf("set %s here, and store it: replicas must share all of an identity", field.Name)
		}
	}
	return id
}

func sameIdentity(t *testing.T, want, got *token.Identity) {
	t.Helper()
	if got == nil {
		t.Fatal("no identity")
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(token.Identity{}), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("the identity has changed (-stored +recalled):\n%s", diff)
	}
	if diff := cmp.Diff(want.Claims(), got.Claims()); diff != "" {
		t.Errorf("its claims have changed (-stored +recalled):\n%s", diff)
	}
	if want.ScopeText() != got.ScopeText() {
		t.Errorf("its scopes are %q, want %q", got.ScopeText(), want.ScopeText())
	}
}

func hit(t *testing.T, what string, v *token.Validator, raw string) *token.Identity {
	t.Helper()
	r, err := v.Validate(t.Context(), raw, charging(func() error { return errors.New("asked for admission") }))
	if err != nil || r.Cache != token.CacheHit || r.Provider != "idp" {
		t.Errorf("%s: got %+v, %v, want a hit", what, r, err)
	}
	return r.Identity
}

func miss(t *testing.T, what string, v *token.Validator, raw string) {
	t.Helper()
	if r, err := v.Validate(t.Context(), raw, nil); err != nil || r.Cache != token.CacheMiss {
		t.Errorf("%s: got %+v, %v, want a miss", what, r, err)
	}
}

// What one replica has verified, the others know: with everything, for no longer
// than it had, and without a validation that would count.
func TestReplicasShareIdentities(t *testing.T) {
	eachStore(t, func(t *testing.T, r *replicas) {
		clock := now
		id := person(t, now.Add(time.Hour))
		first, second, third := answering(id, nil), answering(nil, token.Invalidf("asked")), answering(id, nil)
		a, b, c := r.replica(first, &clock, nil), r.replica(second, &clock, nil), r.replica(third, &clock, nil)
		miss(t, "the first", a, "x")
		clock = now.Add(4 * time.Minute)
		sameIdentity(t, id, hit(t, "the second", b, "x"))
		hit(t, "the second, from its own cache", b, "x")
		if len(r.looks) != 2 || r.lastLook() != token.StoreHit {
			t.Errorf("looks into the store: %v", r.looks)
		}
		clock = now.Add(5*time.Minute - 1)
		hit(t, "the second, to the end", b, "x")
		clock = now.Add(5 * time.Minute)
		if _, err := b.Validate(t.Context(), "x", nil); err == nil {
			t.Error("an identity lived longer for having been shared")
		}
		miss(t, "a third, after the end", c, "x")
		if second.calls.Load() != 1 || third.calls.Load() != 1 {
			t.Errorf("%d and %d verifications", second.calls.Load(), third.calls.Load())
		}
	})
}

func TestSharedIdentityEndsWithItsToken(t *testing.T) {
	eachStore(t, func(t *testing.T, r *replicas) {
		clock := now
		id := person(t, now.Add(time.Minute))
		a, b := r.replica(answering(id, nil), &clock, nil), r.replica(answering(nil, token.Invalidf("expired")), &clock, nil)
		miss(t, "the first", a, "x")
		hit(t, "the second", b, "x")
		clock = now.Add(time.Minute)
		if _, err := b.Validate(t.Context(), "x", nil); err == nil || r.lastLook() != token.StoreStale {
			t.Errorf("after its end: %v, looks %v", err, r.looks)
		}
		if left := r.server.Do("PTTL", r.server.Keys()[0]).(int64); left > time.Minute.Milliseconds() {
			t.Errorf("Redis keeps it for %d ms", left)
		}
	})
}

// A key that this replica knows to be withdrawn, or doesn't know, counts for
// entries of others as well.
func TestSharedIdentityNeedsItsKey(t *testing.T) {
	eachStore(t, func(t *testing.T, r *replicas) {
		held := &verifier{answer: alice, keys: func(string) bool { return false }}
		miss(t, "the first", r.replica(answering(person(t, now.Add(time.Hour)), nil), nil, func(o *token.Options) { o.Now = func() time.Time { return now } }), "x")
		miss(t, "the second", r.replica(held, nil, func(o *token.Options) { o.Now = func() time.Time { return now } }), "x")
		if held.calls.Load() != 1 || r.lastLook() != token.StoreStale {
			t.Errorf("%d verifications, looks %v", held.calls.Load(), r.looks)
		}
	})
}

func TestProvidersDoNotShare(t *testing.T) {
	eachStore(t, func(t *testing.T, r *replicas) {
		miss(t, "the first", r.replica(answering(&token.Identity{Subject: "alice"}, nil), nil, nil), "x")
		miss(t, "another configuration", r.replica(answering(&token.Identity{}, nil), nil, func(o *token.Options) { o.Providers[0].CacheKey = "idp/2" }), "x")
		hit(t, "the same", r.replica(answering(nil, errors.New("asked")), nil, nil), "x")
	})
}

func TestOnlyIdentitiesAreShared(t *testing.T) {
	eachStore(t, func(t *testing.T, r *replicas) {
		for _, err := range []error{token.Invalidf("bad"), &token.UnavailableError{Reason: "down"}, errors.New("?")} {
			if _, got := r.replica(answering(nil, err), nil, nil).Validate(t.Context(), "x", nil); got == nil {
				t.Errorf("%v is valid", err)
			}
		}
		if _, err := r.replica(answering(nil, nil), nil, func(o *token.Options) { o.Providers[0].Tokens = token.JWTs }).Validate(t.Context(), "y", nil); err == nil {
			t.Error("a token without a provider is valid")
		}
		if keys := r.server.Keys(); len(keys) != 0 {
			t.Errorf("Redis has %v", keys)
		}
		if len(r.looks) != 3 {
			t.Errorf("%d looks into the store, want none for a token without a provider", len(r.looks))
		}
	})
}

// Whatever is in Redis, in place of what a replica stored, is as if nothing were
// there: never an answer, never an error.
func TestGarbageInTheStoreIsAMiss(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := &replicas{server: server, store: shared.NewPlain(server.Connect(redis.Options{}, "?timeout=5s"))}
	clock := now
	miss(t, "the first", r.replica(answering(person(t, now.Add(time.Hour)), nil), &clock, nil), "x")
	key := server.Keys()[0]
	good := server.Do("GET", key).(string)
	changed := func(old, new string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, value := range map[string]string{
		"garbage":               "\x00\xff\x00",
		"another version":       changed(`"v":3`, `"v":2`),
		"no version":            changed(`"v":3,`, ``),
		"truncated":             good[:len(good)/2],
		"more":                  good + good,
		"empty object":          "{}",
		"null":                  "null",
		"an unknown member":     changed(`"v":3`, `"v":3,"admin":true`),
		"a repeated member":     changed(`"v":3`, `"v":3,"sub":"bob"`),
		"far in the future":     changed(`"until":"2030`, `"until":"2031`),
		"no end":                changed(`"until":"`+now.Add(5*time.Minute).Format(time.RFC3339)+`",`, ""),
		"bound to nothing":      changed(`"bound":{`, `"bound":null,"x":{`),
		"bound to another key":  changed(`"bound":{"jkt":"k`, `"bound":{"jkt":"x`),
		"a mere bearer token":   strings.Replace(changed(`"cnf":{`, `"conf":{`), `"bound":`, `"other":`, 1),
		"bound, in claims only": changed(`"bound":{"jkt":"`+strings.Repeat("k", 42)+`A","x5t#S256":"`+strings.Repeat("c", 42)+`A"},`, ``),
		"a malformed scope":     changed(`"read"`, `"re\"ad"`),
		"two scopes in one":     changed(`"read","write"`, `"read write"`),
		"an empty scope":        changed(`"read"`, `""`),
		"a control character":   changed(`"sub":"alice"`, `"sub":"al\nice"`),
		"claims are no object":  changed(`"claims":{`, `"claims":[],"x":{`),
		"too deep":              changed(`"claims":{`, `"claims":{"deep":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+","),
		"too long":              changed(`"claims":{`, `"claims":{"long":"`+strings.Repeat("x", 65<<10)+`",`),
	} {
		server.Do("SET", key, value)
		v := answering(person(t, now.Add(time.Hour)), nil)
		miss(t, name, r.replica(v, &clock, nil), "x")
		if v.calls.Load() != 1 || r.lastLook() == token.StoreHit {
			t.Errorf("%s: %d verifications, looks %v", name, v.calls.Load(), r.lastLook())
		}
		hit(t, name+", replaced by what was verified", r.replica(answering(nil, errors.New("asked")), &clock, nil), "x")
	}
}

// Of a thousand requests with one new token, at two replicas, one at each asks the
// provider at most.
func TestHerdOverReplicas(t *testing.T) {
	eachStore(t, func(t *testing.T, r *replicas) {
		release := make(chan struct{})
		var verifiers [2]*verifier
		var validators [2]*token.Validator
		for i := range verifiers {
			verifiers[i] = &verifier{answer: func(context.Context, string) (*token.Identity, error) {
				<-release
				return &token.Identity{Subject: "alice"}, nil
			}}
			validators[i] = r.replica(verifiers[i], nil, nil)
		}
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				if got, err := validators[i%2].Validate(t.Context(), "x", nil); err != nil || got.Identity.Subject != "alice" {
					t.Errorf("got %+v, %v", got, err)
				}
			})
		}
		redistest.Eventually(t, "somebody asks the provider", func() bool { return verifiers[0].calls.Load() > 0 })
		close(release)
		wg.Wait()
		for i, v := range verifiers {
			if n := v.calls.Load(); n > 1 {
				t.Errorf("%d look-ups at the provider by replica %d", n, i)
			}
		}
		hit(t, "a replica that comes later", r.replica(answering(nil, errors.New("asked")), nil, nil), "x")
	})
}

// Without Redis a replica is what it was without a store, and with it again it
// shares again.
func TestStoreIsLost(t *testing.T) {
	eachStore(t, func(t *testing.T, r *replicas) {
		a, b := r.replica(&verifier{answer: alice}, nil, nil), r.replica(&verifier{answer: alice}, nil, nil)
		miss(t, "the first", a, "x")
		r.server.Do("FLUSHALL")
		miss(t, "flushed", b, "x")
		r.server.Kill()
		miss(t, "without Redis", a, "y")
		hit(t, "without Redis, what is known", a, "y")
		miss(t, "without Redis, at another replica", b, "y")
		if r.lastLook() != token.StoreFailed {
			t.Errorf("looks %v", r.looks)
		}
		r.server.Restart()
		n := token.EntryName{Provider: "idp", Token: sha256.Sum256([]byte("z"))}
		redistest.Eventually(t, "Redis is used again", func() bool {
			r.store.Set(context.Background(), n, []byte("{}"), time.Minute)
			got, err := r.store.Get(context.Background(), n)
			return err == nil && got != nil
		})
		miss(t, "with Redis again", a, "w")
		hit(t, "with Redis again, at another replica", b, "w")
	})
}

package token

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// Provider is an identity provider as the [Validator] sees it.
type Provider struct {
	Name     string   // unique
	CacheKey string   // tells the provider's identities in a shared [Cache] from others; default Name
	Issuer   string   // JWTs with exactly this iss go to the provider
	Tokens   Kind     // which credentials go to the provider; default JWTs
	Prefixes []string // it takes only credentials with one of these, and those before others
	Rules    Rules    // its Issuers, Audiences, Clients and SubjectPrefix tell it from others
	MaxBytes int      // of a token; default DefaultMaxLength, at most MaxLength
	Verifier Verifier

	// Uncached marks a Verifier that answers from memory, and may think otherwise of the
	// same credential from one moment to the next: its answers are neither cached nor
	// shared.
	Uncached bool
}

// Options configure a [Validator].
type Options struct {
	Providers   []Provider
	TTL         time.Duration    // how long an identity is cached; default 5 min; negative: not at all
	NegativeTTL time.Duration    // how long an *InvalidError is cached; default 10 s; negative: not at all
	MaxStale    time.Duration    // how long after its TTL an identity serves while its provider can't tell, never beyond its expiry; default: not at all
	Cache       *Cache           // default: a new one for 100,000 entries
	Store       Store            // where identities are shared with other replicas; default: nowhere
	Timeout     time.Duration    // bound of one verification; default 10 s
	Revoked     *Revoked         // tokens that no longer count; default: none
	Now         func() time.Time // default time.Now
	Logger      *slog.Logger     // default: discard

	// Inline verifies tokens whose verifier is [Immediate] in the caller's goroutine, and
	// sets them no Timeout. It is for where admit does not wait either; with a Store it
	// changes nothing.
	Inline bool

	// Observe, if set, hears of each verification: the provider's name ("" if no
	// provider takes the token), the outcome (valid, invalid, unavailable or
	// error) and its duration. It must be quick.
	Observe func(provider, outcome string, d time.Duration)

	// ObserveStore, if set, hears of each look into the Store, by how it ended. It
	// must be quick.
	ObserveStore func(outcome string)
}

// How a result came about.
const (
	CacheHit  = "hit"  // the answer was known
	CacheMiss = "miss" // the token was verified
	// CacheStale is an answer that was known, and is believed since its provider can't
	// tell now; see Options.MaxStale.
	CacheStale = "stale"
	CacheNone  = "none" // none of them: the work was not admitted, or not waited for
)

// Result is what [Validator.Validate] found out.
type Result struct {
	Identity *Identity // nil if there is an error
	Provider string    // the provider's name; empty if none takes the token
	Cache    string    // CacheHit and so on

	Revoked *Revocation // why a valid token doesn't count; nil: no entry is about it
}

// Validator validates tokens by the right provider, behind a cache. Identities
// and refusals are cached apart, so that a flood of garbage can't push out those
// who are in. It is for concurrent use; make it with [NewValidator].
type Validator struct {
	opts     Options
	prefixes [][8]byte // of the providers' cache keys
	maxBytes int       // of a token
	flights  singleflight.Group
	inline   singleflight.Group // of work that waits for nothing
}

// NewValidator makes a validator.
func NewValidator(opts Options) *Validator {
	if opts.TTL == 0 {
		opts.TTL = 5 * time.Minute
	}
	if opts.NegativeTTL == 0 {
		opts.NegativeTTL = 10 * time.Second
	}
	if opts.Cache == nil {
		opts.Cache = NewCache(100_000, 0)
	}
	opts.Providers = slices.Clone(opts.Providers)
	for i := range opts.Providers {
		p := &opts.Providers[i]
		if p.CacheKey == "" {
			p.CacheKey = p.Name
		}
		if p.MaxBytes <= 0 {
			p.MaxBytes = DefaultMaxLength
		}
		p.MaxBytes = min(p.MaxBytes, MaxLength)
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 10 * time.Second
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Observe == nil {
		opts.Observe = func(string, string, time.Duration) {}
	}
	if opts.ObserveStore == nil {
		opts.ObserveStore = func(string) {}
	}
	opts.Inline = opts.Inline && opts.Store == nil
	v := &Validator{opts: opts}
	for _, p := range opts.Providers {
		v.maxBytes = max(v.maxBytes, p.MaxBytes)
		v.prefixes = append(v.prefixes, prefix(p))
	}
	return v
}

// MaxBytes is the length of the longest token that some provider takes.
func (v *Validator) MaxBytes() int { return v.maxBytes }

// Validate finds the identity for a token: in the cache, in the store that replicas
// share, or by the provider that takes it. The error is an *[InvalidError], an
// *[UnavailableError], the error of admit, or a fault of a verifier; only an
// *[InvalidError] is cached.
//
// admit is asked before any real work, and not at all for what is cached or shared; nil
// admits all. Of many concurrent requests with one token, only the one that does the work
// asks, perhaps in another goroutine.
//
// The work goes on when ctx ends, for the others that wait for it. Validate
// itself returns a little before ctx's deadline, so that there is time to answer.
func (v *Validator) Validate(ctx context.Context, raw string, admit *Admission) (Result, error) {
	return v.standing(v.find(ctx, raw, admit))
}

func (v *Validator) find(ctx context.Context, raw string, admit *Admission) (Result, error) {
	key := hash(raw)
	if result, err, ok := v.cached(key); ok {
		return result, err
	}
	parsed := sync.OnceValue(func() *Token { return Parse(raw) }) // by the one who works, of many with one token
	inline := v.opts.Inline && v.immediate(parsed())
	if !inline {
		early, cancel := leaveEarly(ctx)
		defer cancel()
		ctx = early
	}
	for try := 0; ; try++ {
		if ctx.Err() != nil {
			return v.tooLate(ctx, key)
		}
		if try == maxFollows {
			if err := admit.charge(ctx); err != nil {
				return Result{Cache: CacheNone}, err
			}
			admit = nil
		}
		led := false
		done, err := v.fly(ctx, inline, key, func() outcome {
			led = true
			return v.work(ctx, inline, key, parsed, admit)
		})
		switch {
		case err != nil:
			return v.tooLate(ctx, key)
		// A refusal concerns the one that led; the others try for themselves.
		case done.refused && !led:
			continue
		default:
			return done.result, done.err
		}
	}
}

// fly does the work, or waits for the one who does it. Work that waits for nothing is
// done here: another goroutine, with a stack that has to grow first, costs more than a
// third of the work. The error is that of ctx.
func (v *Validator) fly(ctx context.Context, inline bool, key [16]byte, work func() outcome) (outcome, error) {
	flight := func() (any, error) { return work(), nil }
	if inline {
		landed, _, _ := v.inline.Do(string(key[:]), flight)
		return landed.(outcome), nil
	}
	select {
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	case landed := <-v.flights.DoChan(string(key[:]), flight):
		return landed.Val.(outcome), nil
	}
}

func (v *Validator) tooLate(ctx context.Context, key [16]byte) (Result, error) {
	if result, ok := v.excuse(key); ok {
		return result, nil
	}
	return Result{Cache: CacheNone}, &UnavailableError{Reason: "the token could not be verified in time", RetryAfter: time.Second, Err: ctx.Err()}
}

// maxFollows is how often one request follows others that are refused before it
// asks for admission itself: without a bound, a thousand refused requests with
// one token would wake each other a million times.
const maxFollows = 4

type outcome struct {
	result  Result
	err     error
	refused bool // err is admit's
}

// Known tells what is cached of a token, without any work.
func (v *Validator) Known(raw string) (result Result, known bool, err error) {
	result, err, known = v.cached(hash(raw))
	result, err = v.standing(result, err)
	return result, known, err
}

// work is what one flight does.
func (v *Validator) work(ctx context.Context, inline bool, key [16]byte, parsed func() *Token, admit *Admission) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			o = outcome{result: Result{Cache: CacheMiss}, err: v.panicked(p)}
		}
	}()
	// The previous flight may have landed since the cache was looked at.
	if result, err, ok := v.cached(key); ok {
		return outcome{result: result, err: err}
	}
	ctx = context.WithoutCancel(ctx)
	if !inline {
		bounded, cancel := context.WithTimeout(ctx, v.opts.Timeout)
		defer cancel()
		ctx = bounded
	}
	t := parsed()
	// What another replica knows costs no validation.
	if id, p, ok := v.shared(ctx, key, t); ok {
		return outcome{result: Result{Identity: id, Provider: p.Name, Cache: CacheHit}}
	}
	// What local keys tell costs nobody anything, unless it is a refusal. What a provider is
	// asked counts before, unless it can't be asked.
	charged := false
	var limited error
	switch {
	case v.uncached(t): // a valid one must pass whatever its neighbours at the same address do
	case v.immediate(t):
		limited = admit.peek()
	case !v.outage(t):
		limited, charged = admit.charge(ctx), true
	}
	if limited != nil {
		return outcome{result: Result{Cache: CacheNone}, err: limited, refused: true}
	}
	start := time.Now()
	p, id, err := v.verify(ctx, t)
	v.opts.Observe(p.Name, outcomeName(err), time.Since(start))
	if !p.Uncached {
		under := cacheKey(prefix(p), key)
		v.store(string(under[:]), id, err)
	}
	if !charged && v.counts(t, err) {
		if err := admit.charge(ctx); err != nil {
			return outcome{result: Result{Cache: CacheNone}, err: err, refused: true}
		}
		charged = true
	}
	if err == nil {
		admit.valid(charged)
	}
	if err == nil && v.opts.Store != nil && !p.Uncached {
		v.share(ctx, p, t.Raw, id)
	}
	_, unavailable := errors.AsType[*UnavailableError](err)
	if unavailable {
		if result, ok := v.excuse(key); ok {
			return outcome{result: result}
		}
	}
	return outcome{result: Result{Identity: id, Provider: p.Name, Cache: CacheMiss}, err: err}
}

// counts reports whether a token that was admitted without a charge counts after all: it was
// refused, or its provider could be asked in spite of an outage.
func (v *Validator) counts(t *Token, err error) bool {
	if e, unavailable := errors.AsType[*UnavailableError](err); unavailable {
		return e.Charged
	}
	return err != nil || !v.immediate(t)
}

// immediate tells whether the token's verifier would not wait for anything.
func (v *Validator) immediate(t *Token) bool {
	p, err := v.route(t)
	return err != nil || p.Uncached || immediate(p.Verifier, t)
}

// uncached reports whether the token goes to a provider whose answers are not cached.
func (v *Validator) uncached(t *Token) bool {
	p, err := v.route(t)
	return err == nil && p.Uncached
}

// outage tells whether the provider that takes a token can tell of none now.
func (v *Validator) outage(t *Token) bool {
	down := func(p Provider) bool { return outage(p.Verifier) != nil }
	if !slices.ContainsFunc(v.opts.Providers, down) {
		return false
	}
	p, err := v.route(t)
	return err == nil && down(p)
}

// verify routes the token to a provider, which is returned; the zero Provider is
// none.
func (v *Validator) verify(ctx context.Context, t *Token) (p Provider, id *Identity, err error) {
	p, err = v.route(t)
	if err != nil {
		return p, nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			id, err = nil, v.panicked(r)
		}
	}()
	if p.Verifier == nil {
		return p, nil, Invalidf("no validation is configured for this provider")
	}
	id, err = p.Verifier.Verify(ctx, t)
	if err != nil {
		return p, nil, err
	}
	if id == nil {
		return p, nil, errors.New("the verifier gave neither an identity nor an error")
	}
	return p, id, nil
}

// route finds the provider that takes the token.
func (v *Validator) store(key string, id *Identity, err error) {
	now := v.opts.Now()
	if invalid, ok := errors.AsType[*InvalidError](err); ok {
		if v.opts.MaxStale > 0 {
			v.opts.Cache.valid.Set(key, accepted{}, 0) // what the provider refuses is not believed any more
		}
		if !invalid.NoCache && v.opts.NegativeTTL > 0 {
			v.opts.Cache.invalid.Set(key, refused{err: invalid, until: v.opts.Cache.clock(now) + v.opts.NegativeTTL}, v.opts.NegativeTTL)
		}
		return
	}
	if err != nil {
		return
	}
	v.keep(key, id, v.lifetime(id, now))
}

// keep caches an identity for a time, and holds it for as long as it may be excused.
func (v *Validator) keep(key string, id *Identity, ttl time.Duration) {
	if ttl > 0 {
		v.opts.Cache.valid.Set(key, accepted{identity: id.compact(), until: v.opts.Cache.clock(v.opts.Now()) + ttl}, ttl+v.opts.MaxStale)
	}
}

// panicked makes an error of a panic. A panic's value may hold a token, unless
// the runtime itself made it.
func (v *Validator) panicked(p any) error {
	detail := "no details, since they may contain the token"
	if err, ok := p.(runtime.Error); ok {
		detail = err.Error()
	}
	v.opts.Logger.Error("token verification panicked; please report this", "panic", detail, "stack", string(debug.Stack()))
	return errors.New("token verification panicked: " + detail)
}

func outcomeName(err error) string {
	if err == nil {
		return "valid"
	}
	if _, invalid := errors.AsType[*InvalidError](err); invalid {
		return "invalid"
	}
	if _, unavailable := errors.AsType[*UnavailableError](err); unavailable {
		return "unavailable"
	}
	return "error"
}

// leaveEarly ends a context a tenth of its remaining time before its deadline,
// but at most 50 ms.
func leaveEarly(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Until(deadline)/10, 50*time.Millisecond)))
}

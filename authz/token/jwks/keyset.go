package jwks

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"scopeward/authz/token"
	"scopeward/authz/token/provider"
)

// The times that are not configured.
const (
	refetchInterval = 10 * time.Second // between fetches for an unknown kid
	minBackoff      = time.Second      // after the first failed fetch
	maxBackoff      = time.Minute
)

// Options configure a [KeySet]: exactly one of URL, Places and File is set.
type Options struct {
	URL      string
	Places   []provider.Place       // whose keys count together
	File     string                 // read again like the URL
	Token    func() (string, error) // the bearer token that the places ask for; nil: none
	Uses     []string               // values of use that count; default sig
	Refresh  time.Duration          // between background fetches; default 15 min
	MaxStale time.Duration          // how long the last good set serves; default 24 h
	Client   *provider.Client       // default provider.New(provider.Options{})
	Logger   *slog.Logger           // default: discard
	Now      func() time.Time       // default time.Now
}

// KeySet holds the keys that a provider publishes. A fetch that fails, or that gives no
// key set, leaves the last good set in place for MaxStale. A key that a good fetch no
// longer has, or that may no longer verify signatures, is gone with it.
type KeySet struct {
	opts     Options
	current  atomic.Pointer[set] // nil until the first good fetch
	fetching chan struct{}       // held while fetching, so that an old answer never replaces a newer one
	parts    []part              // what each place gave when it was last good; for who holds fetching

	tried chan struct{} // closed after the first fetch, good or not

	mu        sync.Mutex
	lastErr   error // of the latest fetch
	lastFault provider.Fault
	refetch   *refetch // for an unknown kid, while it runs
	refetchAt time.Time
}

type set struct {
	keys []key
	at   time.Time
}

type refetch struct {
	done chan struct{}
	err  error
}

// New makes an empty key set, which Run or the first token fills.
func New(opts Options) *KeySet {
	if opts.Refresh <= 0 {
		opts.Refresh = 15 * time.Minute
	}
	if opts.MaxStale <= 0 {
		opts.MaxStale = 24 * time.Hour
	}
	if opts.Client == nil {
		opts.Client = provider.New(provider.Options{Now: opts.Now})
	}
	if opts.URL != "" {
		opts.Places = []provider.Place{provider.At(opts.URL)}
	}
	if len(opts.Uses) == 0 {
		opts.Uses = []string{"sig"}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &KeySet{
		opts: opts, fetching: make(chan struct{}, 1), tried: make(chan struct{}),
		parts: make([]part, max(len(opts.Places), 1)),
	}
}

// Run fetches the keys at once and then every Refresh, until ctx ends. After a
// failure it tries again after 1 s, 2 s and so on up to 1 min, or when the
// provider's Retry-After says.
func (s *KeySet) Run(ctx context.Context) {
	for failures := 0; ; {
		wait := jittered(s.opts.Refresh)
		if err := s.fetch(ctx); err != nil {
			wait = min(wait, jittered(min(minBackoff<<min(failures, 10), maxBackoff)))
			failures++
			if unavailable := (*token.UnavailableError)(nil); errors.As(err, &unavailable) {
				wait = max(wait, unavailable.RetryAfter)
			}
		} else {
			failures = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// jittered adds up to a tenth, so that many instances do not ask in step.
func jittered(d time.Duration) time.Duration { return d + rand.N(d/10+1) }

// Fetch fetches the keys once, for tools.
func (s *KeySet) Fetch(ctx context.Context) error { return s.fetch(ctx) }

// Tried is closed once a fetch has ended, well or not.
func (s *KeySet) Tried() <-chan struct{} { return s.tried }

func (s *KeySet) wasTried() bool {
	select {
	case <-s.tried:
		return true
	default:
		return false
	}
}

// Ready tells whether a fetch has been tried, and why no key is there to verify
// tokens with ("" if there is one).
func (s *KeySet) Ready() (tried bool, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch set := s.current.Load(); {
	case s.fresh(set) && len(set.keys) == 0:
		return true, "no keys: the provider publishes none that verifies signatures"
	case s.fresh(set):
		return true, ""
	case !s.wasTried():
		return false, "the keys have not been fetched yet"
	case s.lastErr == nil:
		return true, "the keys are older than allowed"
	default:
		return true, "no keys: " + s.lastErr.Error()
	}
}

// Age is the time since the last good fetch; ok is false if there was none.
func (s *KeySet) Age() (age time.Duration, ok bool) {
	set := s.current.Load()
	if set == nil {
		return 0, false
	}
	return since(s.opts.Now(), set.at), true
}

// Held is the number of usable keys.
func (s *KeySet) Held() int {
	set := s.current.Load()
	if set == nil {
		return 0
	}
	return len(set.keys)
}

// LastFault is what the latest fetch failed by that did, also if later ones went well.
func (s *KeySet) LastFault() provider.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastFault
}

// since is the longer of what the monotonic and the wall clock say: the first
// stands still while the machine sleeps, the second may be set back.
func since(now, then time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)), 0)
}

func (s *KeySet) fresh(set *set) bool {
	return set != nil && since(s.opts.Now(), set.at) <= s.opts.MaxStale
}

func (s *KeySet) has(id string) bool {
	set := s.current.Load()
	return set != nil && slices.ContainsFunc(set.keys, func(k key) bool { return k.id == id })
}

// find returns the key that signed a token. It fetches the keys again for a token whose
// key it does not know, at most once in 10 s. The error is an *[token.InvalidError] if the
// signature is wrong or the provider has no such key, else an *[token.UnavailableError]: also
// where the key may have been published since the last fetch.
func (s *KeySet) find(ctx context.Context, t *token.JWT) (key, error) {
	if k, known, err := s.signer(t); known {
		return k, err
	}
	fetched, err := s.fetchForUnknown(ctx)
	if err != nil {
		return key{}, err
	}
	if k, known, err := s.signer(t); known {
		return k, err
	}
	return key{}, s.unknown(t.Kid, fetched)
}

// signer returns the key that signed a token. known is false if the key may be one that
// is not held.
func (s *KeySet) signer(t *token.JWT) (signer key, known bool, err error) {
	keys, sure, err := s.held(t)
	if err != nil {
		return key{}, true, err
	}
	for _, k := range keys {
		if k.verifies(t) {
			return k, true, nil
		}
	}
	return key{}, sure, token.Invalidf("its signature is wrong")
}

// unknown is the error of a token whose key is not held. fetched reports whether the keys
// were fetched for it.
func (s *KeySet) unknown(kid string, fetched bool) error {
	unknown := token.Invalidf("the provider has no key for it (kid, alg)")
	if fetched {
		return unknown
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	unavailable := s.unavailable()
	if set := s.current.Load(); s.lastErr == nil && s.fresh(set) {
		if kid != "" && slices.ContainsFunc(set.keys, func(k key) bool { return k.kid == kid }) {
			unknown.NoCache = true // the key is there, for another algorithm
			return unknown
		}
		unavailable.Reason = "the provider's keys were fetched a moment ago, and the token's is not among them: it may have been published since"
		unavailable.Charged = true
	}
	return unavailable
}

// outage is the error of every token while there are no keys and none may be fetched.
func (s *KeySet) outage() *token.UnavailableError {
	if s.fresh(s.current.Load()) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refetch != nil || !s.justFetched(s.opts.Now()) {
		return nil
	}
	return s.unavailable()
}

// unavailable is called with the lock held.
func (s *KeySet) unavailable() *token.UnavailableError {
	wait := min(max(time.Second, refetchInterval-s.opts.Now().Sub(s.refetchAt)), refetchInterval)
	if asked := (*token.UnavailableError)(nil); errors.As(s.lastErr, &asked) {
		wait = max(wait, asked.RetryAfter)
	}
	return &token.UnavailableError{Reason: "the provider's keys cannot be fetched", RetryAfter: wait, Err: s.lastErr}
}

// maxTried is how many keys are tried for a token that names none.
const maxTried = 8

// held are the keys that may have signed a token: those of its kid, else those without
// one; for a token without a kid all that fit. sure reports whether no other key may have.
func (s *KeySet) held(t *token.JWT) (keys []key, sure bool, err error) {
	set := s.current.Load()
	if !s.fresh(set) {
		return nil, false, nil
	}
	var named, others []key
	for _, k := range set.keys {
		switch {
		case !k.fits(t.Alg) || !k.countsFor(t):
		case t.Kid != "" && k.kid == t.Kid:
			named = append(named, k)
		case t.Kid == "" || k.kid == "":
			others = append(others, k)
		}
	}
	switch {
	case len(named) > 0:
		return named, true, nil
	case len(others) > maxTried:
		return nil, true, token.Invalidf("it names no key (kid), and the provider has more than %d for its algorithm", maxTried)
	default:
		return others, t.Kid == "" && len(others) > 0, nil
	}
}

// fetchForUnknown fetches the keys unless that was done in the last 10 s, and
// tells whether it got them. Concurrent callers wait for one fetch.
func (s *KeySet) fetchForUnknown(ctx context.Context) (fetched bool, err error) {
	s.mu.Lock()
	f := s.refetch
	if f == nil {
		now := s.opts.Now()
		if s.justFetched(now) {
			s.mu.Unlock()
			return false, nil
		}
		f = &refetch{done: make(chan struct{})}
		s.refetch, s.refetchAt = f, now
		go func(ctx context.Context) {
			defer close(f.done)
			f.err = s.fetch(ctx)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.refetch = nil
		}(context.WithoutCancel(ctx))
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.err == nil, nil
	case <-ctx.Done():
		return false, &token.UnavailableError{Reason: "the provider's keys did not arrive in time", RetryAfter: time.Second, Err: ctx.Err()}
	}
}

// justFetched tells whether the keys were fetched for an unknown kid in the last 10 s. It
// is called with the lock held.
func (s *KeySet) justFetched(now time.Time) bool {
	age := now.Sub(s.refetchAt)
	return !s.refetchAt.IsZero() && 0 <= age && age < refetchInterval
}

// fetch gets the keys of all places once. Whatever goes wrong at one, its last good keys
// stay; if it goes wrong at all, the whole set does.
func (s *KeySet) fetch(ctx context.Context) error {
	select {
	case s.fetching <- struct{}{}:
		defer func() { <-s.fetching }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var failed []error
	for i := range s.parts {
		if err := s.fetchPart(ctx, i); err != nil {
			failed = append(failed, err)
		}
	}
	var err error
	if len(failed) > 0 {
		if err = failed[0]; ctx.Err() != nil {
			return err // we are stopping; that says nothing about the provider
		}
	}
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastErr = err; err != nil {
		s.lastFault = provider.Fault{Reason: err.Error(), At: now}
	}
	if len(failed) < len(s.parts) {
		s.current.Store(s.join(now))
	}
	if !s.wasTried() {
		close(s.tried)
	}
	return err
}

package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"scopeward/authz/token"
	"scopeward/authz/token/provider"
)

// The times that are not configured.
const (
	defaultRefresh = time.Hour
	firstRetry     = time.Second      // after a look-up that failed, doubling
	retryAfter     = 10 * time.Second // up to this
)

// Options configure a [Source].
type Options struct {
	Issuer   string           // whose metadata are read; without placeholders
	Insecure bool             // endpoints without TLS are used beyond this machine, too
	Client   *provider.Client // sends the requests; it has MayBeAbsent
	Refresh  time.Duration    // between look-ups in the background; default 1 h
	Logger   *slog.Logger     // default: discard
	Now      func() time.Time // default time.Now
}

// Source keeps the metadata of one issuer. It is for concurrent use.
type Source struct {
	opts Options

	mu    sync.Mutex
	state state         // the last good one
	next  time.Time     // not before, while nothing is known
	tries int           // that failed, in a row
	err   error         // of the latest look-up; nil if it went well
	tried bool          // one has ended
	busy  chan struct{} // closed when the look-up that runs has ended; nil if none runs
}

// state is what was last found: metadata, or that there are none.
type state struct {
	known    bool
	none     bool // the issuer publishes no metadata
	metadata Metadata
}

// New makes a source that knows nothing yet. It asks nobody.
func New(opts Options) *Source {
	if opts.Refresh <= 0 {
		opts.Refresh = defaultRefresh
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Source{opts: opts}
}

// Run reads the metadata at once and then every Refresh, until ctx ends. After a failure
// it tries again after 1 s, 2 s and so on up to 10 s.
func (s *Source) Run(ctx context.Context) {
	for {
		_ = s.LookUp(ctx)
		wait := s.opts.Refresh
		s.mu.Lock()
		if s.err != nil {
			wait = min(wait, s.pause())
		}
		s.mu.Unlock()
		timer := time.NewTimer(wait + rand.N(wait/10+1)) // many instances must not ask in step
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// pause is the time until the next look-up after one that failed.
func (s *Source) pause() time.Duration {
	return min(firstRetry<<min(max(s.tries-1, 0), 10), retryAfter)
}

// Tried reports whether a look-up has ended, well or not.
func (s *Source) Tried() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tried
}

// At is the place of an endpoint: of [Source.JWKS] and so on. name says what it is.
func (s *Source) At(name string, find func(*Source, context.Context) (string, error)) provider.Place {
	return place{s, name, find}
}

type place struct {
	source *Source
	name   string
	find   func(*Source, context.Context) (string, error)
}

// URL implements [provider.Place].
func (p place) URL(ctx context.Context) (string, error) { return p.find(p.source, ctx) }

// Outage implements [provider.Place].
func (p place) Outage() *token.UnavailableError {
	s := p.source
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := s.next.Sub(s.opts.Now())
	if s.state.known || s.err == nil || wait <= 0 {
		return nil
	}
	return unavailable(s.err, wait)
}

func (p place) String() string { return p.name + " of the metadata of " + p.source.opts.Issuer }

// State returns what is known and the error of the latest look-up, for people.
func (s *Source) State() (m Metadata, known bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.metadata, s.state.known, s.err
}

// JWKS is where the keys are: as the metadata say, else at Kinde's place.
func (s *Source) JWKS(ctx context.Context) (string, error) {
	return s.endpoint(ctx, func(m Metadata) string { return m.JWKS }, "/.well-known/jwks", "jwks_uri", "jwks.url")
}

// Profile is where the profile is: as the metadata say, else at Kinde's place.
func (s *Source) Profile(ctx context.Context) (string, error) {
	return s.endpoint(ctx, func(m Metadata) string { return m.Userinfo }, "/oauth2/v2/user_profile", "userinfo_endpoint", "profile.url")
}

// Introspection is where tokens are introspected. Kinde's place, which gets a secret,
// counts only if the issuer publishes no metadata at all.
func (s *Source) Introspection(ctx context.Context) (string, error) {
	st, err := s.get(ctx)
	switch {
	case err != nil:
		return "", err
	case st.none:
		return s.own("/oauth2/introspect"), nil
	case st.metadata.Introspection == "":
		return "", &token.UnavailableError{Reason: fmt.Sprintf(
			"the metadata at %s name no introspection_endpoint; set introspection.url", st.metadata.Place)}
	}
	return st.metadata.Introspection, nil
}

// Token is where Scopeward gets tokens of its own. There is no other place.
func (s *Source) Token(ctx context.Context) (string, error) {
	st, err := s.get(ctx)
	if err == nil && st.metadata.Token == "" {
		err = &token.UnavailableError{Reason: "the issuer's metadata name no token_endpoint; set token_url"}
	}
	return st.metadata.Token, err
}

func (s *Source) endpoint(ctx context.Context, named func(Metadata) string, fallback, member, setting string) (string, error) {
	st, err := s.get(ctx)
	if err != nil {
		if e := (*token.UnavailableError)(nil); errors.As(err, &e) {
			return "", &token.UnavailableError{
				Reason: "the endpoint is not known (" + member + " of the issuer's metadata, or " + setting + "): " + e.Reason, RetryAfter: e.RetryAfter, Err: e.Err,
			}
		}
		return "", err
	}
	if url := named(st.metadata); url != "" {
		return url, nil
	}
	return s.own(fallback), nil
}

// own is a place below the issuer.
func (s *Source) own(path string) string { return strings.TrimRight(s.opts.Issuer, "/") + path }

// get returns what is known. Where that is nothing, it waits for a look-up; after those
// that failed there is a pause.
func (s *Source) get(ctx context.Context) (state, error) {
	s.mu.Lock()
	st, failed, again := s.state, s.err, !s.opts.Now().Before(s.next)
	s.mu.Unlock()
	if st.known {
		return st, nil
	}
	if failed == nil || again {
		failed = s.LookUp(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.known {
		return s.state, nil
	}
	return state{}, unavailable(failed, s.next.Sub(s.opts.Now()))
}

// unavailable is the error of a request while nothing is known.
func unavailable(err error, wait time.Duration) *token.UnavailableError {
	if e := (*token.UnavailableError)(nil); errors.As(err, &e) {
		return &token.UnavailableError{Reason: e.Reason, RetryAfter: max(e.RetryAfter, wait), Err: e.Err}
	}
	if err == nil {
		err = errors.New("the issuer's metadata have not been read yet")
	}
	return &token.UnavailableError{Reason: err.Error(), RetryAfter: max(wait, time.Second)}
}

// LookUp reads the metadata once, or waits for the look-up that runs.
func (s *Source) LookUp(ctx context.Context) error {
	s.mu.Lock()
	busy := s.busy
	if busy == nil {
		busy = make(chan struct{})
		s.busy = busy
		go s.work(context.WithoutCancel(ctx), busy) // for the others that wait for it
	}
	s.mu.Unlock()
	select {
	case <-busy:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.err
	case <-ctx.Done():
		return &token.UnavailableError{Reason: "the issuer's metadata did not arrive in time", RetryAfter: time.Second, Err: ctx.Err()}
	}
}

// work reads the metadata. Whatever goes wrong, what was last good stays.
func (s *Source) work(ctx context.Context, done chan struct{}) {
	m, err := Lookup(ctx, s.opts.Client, s.opts.Issuer, s.opts.Insecure)
	none := (*NoneError)(nil)
	found := state{known: true, metadata: m}
	if errors.As(err, &none) {
		found, err = state{known: true, none: true}, nil
	}
	s.mu.Lock()
	before, failed := s.state, s.err
	// Metadata that vanish are a fault: the endpoints in use stay.
	if err == nil && found.none && before.known && !before.none {
		err = &token.UnavailableError{Reason: none.Error() + " any more"}
	}
	if err == nil {
		s.state = found
	}
	s.tries++
	if err == nil {
		s.tries = 0
	}
	s.err, s.busy, s.tried = err, nil, true
	s.next = s.opts.Now().Add(s.pause())
	s.mu.Unlock()
	close(done)
	s.log(before, found, failed, err)
}

// log tells of what changed.
func (s *Source) log(before, found state, failed, err error) {
	issuer := slog.String("issuer", s.opts.Issuer)
	switch {
	case err != nil && (failed == nil || failed.Error() != err.Error()):
		message := "cannot read the issuer's metadata; the endpoints found before stay in use"
		if !before.known {
			message = "cannot read the issuer's metadata; endpoints that are not configured are not known until they are there"
		}
		s.opts.Logger.Warn(message, issuer, slog.Any("error", err))
	case err == nil && found.none && !before.known:
		s.opts.Logger.Info("the issuer publishes no metadata; endpoints that are not configured are at Kinde's places", issuer)
	case err == nil && !same(found.metadata, before.metadata):
		s.opts.Logger.Info("read the issuer's metadata", issuer, slog.String("place", found.metadata.Place))
	}
}

func same(a, b Metadata) bool {
	return a.JWKS == b.JWKS && a.Userinfo == b.Userinfo && a.Introspection == b.Introspection && a.Token == b.Token
}

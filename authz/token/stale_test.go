package token_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"scopeward/authz/token"
)

// TestStaleIfError: while a provider can't tell, an identity serves up to MaxStale after
// its TTL, never beyond its expiry, and not at all without MaxStale or once it is refused.
func TestStaleIfError(t *testing.T) {
	down, refused := &token.UnavailableError{Reason: "down"}, token.Invalidf("revoked")
	for name, c := range map[string]struct {
		maxStale, expiry, after time.Duration
		first, then             error
		want                    string // "" is a denial
	}{
		"within the TTL":                      {time.Hour, 2 * time.Hour, 4 * time.Minute, nil, down, token.CacheHit},
		"after the TTL":                       {time.Hour, 2 * time.Hour, 6 * time.Minute, nil, down, token.CacheStale},
		"at the end":                          {time.Hour, 2 * time.Hour, 65*time.Minute - 1, nil, down, token.CacheStale},
		"after the end":                       {time.Hour, 2 * time.Hour, 65 * time.Minute, nil, down, ""},
		"expired":                             {time.Hour, 10 * time.Minute, 10 * time.Minute, nil, down, ""},
		"just before its expiry":              {time.Hour, 10 * time.Minute, 10*time.Minute - 1, nil, down, token.CacheStale},
		"without an expiry":                   {time.Hour, 0, 64 * time.Minute, nil, down, token.CacheStale},
		"without an expiry, after the end":    {time.Hour, 0, 65 * time.Minute, nil, down, ""},
		"not configured":                      {0, 2 * time.Hour, 5 * time.Minute, nil, down, ""},
		"refused":                             {time.Hour, 2 * time.Hour, 6 * time.Minute, nil, refused, ""},
		"refused, then down":                  {time.Hour, 2 * time.Hour, 6 * time.Minute, refused, down, ""},
		"a fault of ours":                     {time.Hour, 2 * time.Hour, 6 * time.Minute, nil, errors.New("?"), ""},
		"excused before, and refused by then": {time.Hour, 2 * time.Hour, 6 * time.Minute, down, refused, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var answer error
				id := &token.Identity{Subject: "alice"}
				if c.expiry > 0 {
					id.Expiry = time.Now().Add(c.expiry)
				}
				v := &verifier{answer: func(context.Context, string) (*token.Identity, error) {
					if answer != nil {
						return nil, answer
					}
					return id, nil
				}}
				opts := opaque(v)
				opts.MaxStale = c.maxStale
				validator := token.NewValidator(opts)
				if _, err := validator.Validate(t.Context(), "x", admitAll); err != nil {
					t.Fatal(err)
				}
				time.Sleep(c.after)
				if c.first != nil {
					answer = c.first
					_, _ = validator.Validate(t.Context(), "x", admitAll)
					time.Sleep(30 * time.Second)
				}
				answer = c.then
				r, err := validator.Validate(t.Context(), "x", admitAll)
				if got := r.Identity != nil && err == nil; got != (c.want != "") || got && r.Cache != c.want {
					t.Errorf("got %+v, %v", r, err)
				}
			})
		})
	}
}

// TestStaleIsNotAskedAgainAtOnce: while it is excused, it costs neither a request to the
// provider nor a validation; and the provider's recovery is noticed after 30 s.
func TestStaleIsNotAskedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		v := &verifier{answer: func(ctx context.Context, raw string) (*token.Identity, error) {
			if err != nil {
				return nil, err
			}
			return alice(ctx, raw)
		}}
		opts := opaque(v)
		opts.MaxStale = time.Hour
		validator := token.NewValidator(opts)
		ask := func() string {
			t.Helper()
			r, err := validator.Validate(t.Context(), "x", admitAll)
			if err != nil {
				t.Fatal(err)
			}
			return r.Cache
		}
		ask()
		time.Sleep(5 * time.Minute)
		err = &token.UnavailableError{Reason: "down"}
		for range 60 {
			if got := ask(); got != token.CacheStale {
				t.Fatalf("it is %s", got)
			}
			time.Sleep(time.Second)
		}
		if n := v.calls.Load(); n != 3 {
			t.Errorf("the provider was asked %d times, want 3", n)
		}
		err = nil
		time.Sleep(30 * time.Second)
		if got := ask(); got != token.CacheMiss {
			t.Errorf("once the provider is well it is %s", got)
		}
		if got := ask(); got != token.CacheHit {
			t.Errorf("then it is %s", got)
		}
	})
}

// TestStaleServesWhoCannotWait: an Envoy that waits for less than the provider's timeout
// gets the stale identity, too.
func TestStaleServesWhoCannotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := false
		v := &verifier{answer: func(ctx context.Context, raw string) (*token.Identity, error) {
			if hang {
				<-ctx.Done()
				return nil, &token.UnavailableError{Reason: "slow", Err: ctx.Err()}
			}
			return alice(ctx, raw)
		}}
		opts := opaque(v)
		opts.MaxStale = time.Hour
		validator := token.NewValidator(opts)
		_, _ = validator.Validate(t.Context(), "x", admitAll)
		time.Sleep(6 * time.Minute)
		hang = true
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if r, err := validator.Validate(ctx, "x", admitAll); err != nil || r.Cache != token.CacheStale {
			t.Errorf("got %+v, %v", r, err)
		}
		time.Sleep(10 * time.Second) // the work ends
	})
}

// sick is a verifier whose provider is.
type sick struct{ *verifier }

func (sick) Outage() *token.UnavailableError { return &token.UnavailableError{Reason: "down"} }

// TestOutageIsNotCharged: what a sick provider can't tell costs no validation; what can be
// told without it is told, and costs one.
func TestOutageIsNotCharged(t *testing.T) {
	down, refused := &token.UnavailableError{Reason: "down"}, errors.New("refused")
	for name, c := range map[string]struct {
		verdict, admission, want error
		charged                  int
	}{
		"unavailable":            {down, nil, down, 0},
		"unavailable, no budget": {down, refused, down, 0},
		"invalid":                {token.Invalidf("expired"), nil, token.Invalidf("expired"), 1},
		"invalid, no budget":     {token.Invalidf("expired"), refused, refused, 1},
		"valid, no budget":       {nil, refused, refused, 1},
		"valid":                  {nil, nil, nil, 1},
	} {
		charged := 0
		var id *token.Identity
		if c.verdict == nil {
			id = &token.Identity{}
		}
		r, err := token.NewValidator(opaque(sick{answering(id, c.verdict)})).Validate(t.Context(), "x", charging(func() error { charged++; return c.admission }))
		if fmt.Sprint(err) != fmt.Sprint(c.want) || charged != c.charged || (r.Identity != nil) != (c.want == nil) {
			t.Errorf("%s: %+v, %v, charged %d times", name, r, err, charged)
		}
	}
}

// stepped is a time after a step of the wall clock alone, as NTP makes one: the monotonic
// clock of it stays. It needs a time with both clocks.
func stepped(now time.Time, seconds int64) time.Time {
	wall := (*uint64)(unsafe.Pointer(&now)) // 1 bit, 33 bits of seconds, 30 of nanoseconds
	*wall += uint64(seconds) << 30
	return now
}

// TestWallClockSteps: a wall clock that is set back lengthens no entry, and one that is
// set forward locks nobody out whose token is good.
func TestWallClockSteps(t *testing.T) {
	start := time.Now()
	if back := stepped(start, -3600); back.Sub(start) != 0 || back.Round(0).Sub(start.Round(0)) != -time.Hour {
		t.Fatalf("a step is not what it is meant to be: %v", back)
	}
	for name, c := range map[string]struct {
		after time.Duration
		step  int64 // seconds
		want  string
	}{
		"no step":                    {4 * time.Minute, 0, token.CacheHit},
		"set back":                   {4 * time.Minute, -3600, token.CacheHit},
		"set back, at the end":       {5 * time.Minute, -3600, token.CacheMiss},
		"set back by years":          {5 * time.Minute, -1e8, token.CacheMiss},
		"set forward":                {time.Minute, 600, token.CacheHit},
		"set forward beyond its exp": {time.Minute, 7200, token.CacheMiss},
		"set forward, at the end":    {5 * time.Minute, 600, token.CacheMiss},
	} {
		clock := start
		v := answering(&token.Identity{Expiry: start.Round(0).Add(time.Hour)}, nil)
		opts := opaque(v)
		opts.Now = func() time.Time { return clock }
		validator := token.NewValidator(opts)
		_, _ = validator.Validate(t.Context(), "x", admitAll)
		clock = stepped(start.Add(c.after), c.step)
		if r, err := validator.Validate(t.Context(), "x", admitAll); err != nil || r.Cache != c.want {
			t.Errorf("%s: %+v, %v; want %s", name, r, err, c.want)
		}
	}
}

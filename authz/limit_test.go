package authz

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"scopeward/authz/ratelimit"
	"scopeward/authz/token"
)

// localVerifier is a verifier with keys of its own: it asks nobody.
type localVerifier struct{ verify verifierFunc }

func (l localVerifier) Verify(ctx context.Context, t *token.Token) (*token.Identity, error) {
	return l.verify.Verify(ctx, t)
}
func (localVerifier) Immediate(*token.Token) bool { return true }

// limitedServer verifies tokens that begin with "good"; verifications counts.
func limitedServer(t *testing.T, local bool, most int) (ask func(raw string) int, verifications *int, log *bytes.Buffer) {
	t.Helper()
	verifications, log = new(int), &bytes.Buffer{}
	verify := verifierFunc(func(raw string) (*token.Identity, error) {
		*verifications++
		if !strings.HasPrefix(raw, "good") {
			return nil, token.Invalidf("its signature is wrong")
		}
		return &token.Identity{Subject: raw, Scopes: []string{"read:users"}}, nil
	})
	s, _, _ := testServer(t, verify, func(s *Snapshot) {
		s.Limit = Limit{Limiter: ratelimit.NewMemory(ratelimit.Options{Max: most, Window: time.Hour})}
		if local {
			s.Validator = token.NewValidator(token.Options{Inline: true, Providers: []token.Provider{{Name: "test", Tokens: token.Any, Verifier: localVerifier{verify}}}})
		}
	})
	s.log = slog.New(slog.NewTextHandler(log, nil))
	return func(raw string) int {
		in := get("/users", "Bearer "+raw)
		in.Attributes.Source = peer("203.0.113.9")
		return statusOf(check(t, s, in))
	}, verifications, log
}

// TestLocalKeysAreFree: valid tokens that local keys verify do not count; refusals do, and
// beyond them no signature is verified.
func TestLocalKeysAreFree(t *testing.T) {
	ask, verifications, log := limitedServer(t, true, 3)
	for i := range 200 {
		if got := ask(fmt.Sprint("good", i)); got != 0 {
			t.Fatalf("valid token %d got %d", i, got)
		}
	}
	for i := range 3 {
		if got := ask(fmt.Sprint("bad", i)); got != 401 {
			t.Errorf("bad token %d got %d", i, got)
		}
		if got := ask(fmt.Sprint("good again", i)); got != 401 { // two words: malformed, which costs nothing
			t.Errorf("got %d", got)
		}
	}
	before := *verifications
	for i := range 50 {
		if got := ask(fmt.Sprint("worse", i)); got != 429 {
			t.Errorf("a bad token beyond the limit got %d", got)
		}
	}
	if got := ask("good7"); got != 0 {
		t.Errorf("a known token got %d", got)
	}
	if got := ask("bad1"); got != 401 {
		t.Errorf("a token that is known to be bad got %d", got)
	}
	if *verifications != before {
		t.Errorf("%d signatures were verified beyond the limit", *verifications-before)
	}
	if log.Len() > 0 {
		t.Errorf("an attacker is taken for a crowd: %s", log)
	}
}

// TestProviderRequestsCount: where a provider is asked, valid tokens count.
func TestProviderRequestsCount(t *testing.T) {
	ask, _, log := limitedServer(t, false, 3)
	var got []int
	for i := range 5 {
		got = append(got, ask(fmt.Sprint("good", i)))
	}
	if want := []int{0, 0, 0, 429, 429}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := strings.Count(log.String(), "rate_limit.trusted_hops"); n != 1 {
		t.Errorf("the log says it %d times: %s", n, log)
	}
}

// TestCrowdIsTold: a client that is limited by refusals, but brings valid tokens as a rule.
func TestCrowdIsTold(t *testing.T) {
	ask, _, log := limitedServer(t, true, 2)
	ask("bad0")
	for i := range 10 {
		ask(fmt.Sprint("good", i))
	}
	ask("bad1")
	for i := range 3 {
		if got := ask(fmt.Sprint("late", i)); got != 429 {
			t.Errorf("got %d", got)
		}
	}
	if n := strings.Count(log.String(), "rate_limit.trusted_hops"); n != 1 {
		t.Errorf("the log says it %d times: %s", n, log)
	}
}

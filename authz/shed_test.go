package authz

import (
	"context"
	"strconv"
	"testing"

	"scopeward/authz/token"
)

// TestShed: as the share grows, first tokens that would have to be validated are refused,
// and then any; always with 503. When it is zero again, nobody is.
func TestShed(t *testing.T) {
	s, _, _ := testServer(t, func(string) (*token.Identity, error) {
		return &token.Identity{Subject: "alice", Scopes: []string{"read:users"}}, nil
	}, nil)
	check(t, s, get("/users", "Bearer known"))
	n := 0
	refused := func(requests int, next func() string) (count int) {
		for range requests {
			response := check(t, s, get("/users", next()))
			switch denied := response.GetDeniedResponse(); {
			case denied == nil:
			case denied.GetStatus().GetCode() == 503:
				count++
			default:
				t.Fatalf("got %v", denied)
			}
		}
		return count
	}
	known := func() string { return "Bearer known" }
	unknown := func() string { n++; return "Bearer new" + strconv.Itoa(n) }
	for _, c := range []struct {
		share                                    float64
		knownLeast, knownMost, newLeast, newMost int // of 200
	}{
		{0, 0, 0, 0, 0}, {0.25, 0, 0, 60, 140}, {0.5, 0, 0, 200, 200}, {0.75, 60, 140, 200, 200}, {1, 200, 200, 200, 200}, {7, 200, 200, 200, 200}, {-1, 0, 0, 0, 0},
	} {
		s.Shed(c.share)
		if got := refused(200, known); got < c.knownLeast || got > c.knownMost {
			t.Errorf("of share %v, %d of 200 known tokens are refused", c.share, got)
		}
		if got := refused(200, unknown); got < c.newLeast || got > c.newMost {
			t.Errorf("of share %v, %d of 200 new tokens are refused", c.share, got)
		}
	}
}

// TestNoWorkForAnEnvoyThatHasGivenUp: its request is not even looked at.
func TestNoWorkForAnEnvoyThatHasGivenUp(t *testing.T) {
	s, _, _ := testServer(t, func(string) (*token.Identity, error) {
		t.Error("a token was validated")
		return nil, nil
	}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, path := range []string{"/users", "/public"} {
		response, err := s.Check(ctx, get(path, "Bearer x"))
		if err != nil || statusOf(response) != 503 {
			t.Errorf("%s: got %v, %v", path, response, err)
		}
	}
}

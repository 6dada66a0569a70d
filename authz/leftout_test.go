package authz

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"scopeward/authz/token"
	"scopeward/internal/testenv/tokentest"
)

// TestHeaderLeftOut: a header that could be read differently is left out, the client's own
// copy with it, and the log says so once, without the value.
func TestHeaderLeftOut(t *testing.T) {
	s, _, _ := testServer(t, func(string) (*token.Identity, error) {
		id := &token.Identity{Subject: "alice", Scopes: []string{"read:users"}}
		id.SetClaims(tokentest.Decoded(map[string]any{"org": []any{"canary admin"}}))
		return id, nil
	}, nil)
	var log bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	for range 3 {
		response := check(t, s, get("/users", "Bearer a"))
		if response.GetOkResponse() == nil {
			t.Fatalf("denied: %v", response)
		}
		for _, h := range response.GetOkResponse().GetHeaders() {
			if h.GetHeader().GetKey() == "x-auth-org" {
				t.Errorf("the header is there: %v", h)
			}
		}
		if removed := strings.Join(response.GetOkResponse().GetHeadersToRemove(), " "); !strings.Contains(removed, "x-auth-org") {
			t.Errorf("the client's own copy stays: %s", removed)
		}
	}
	if n := strings.Count(log.String(), "header=x-auth-org"); n != 1 || strings.Contains(log.String(), "canary") {
		t.Errorf("said %d times: %s", n, &log)
	}
}

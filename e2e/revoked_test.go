package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scopeward/authz/token"
	"scopeward/authz/token/revocation"
)

// TestRevokedCountsAtOnce: an entry counts within two seconds of the edit, for a token that
// is cached, and so does its removal.
func TestRevokedCountsAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, "jwks", nil)
	raw := s.idp.Mint(map[string]any{"sub": "leaver"}, nil)
	s.want(t, "/users", raw, 200)
	list := filepath.Join(s.dir, "revoked.yaml")
	before, err := revocation.Add(list, nil, token.Revocation{Kind: token.RevokedSubject, Value: "another"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, before, 0o600); err != nil {
		t.Fatal(err)
	}
	replace(t, s.config, "policy: policies", "policy: policies\nrevoked: revoked.yaml")
	eventually(t, "the list is read", func() bool { return strings.Contains(s.page(t, "/metrics"), "scopeward_revoked_entries 1\n") })
	s.want(t, "/users", raw, 200)

	replace(t, list, "another", "leaver")
	edited := time.Now()
	eventually(t, "the entry counts", func() bool { status, _ := s.status(t, "/users", raw); return status == 401 })
	if took := time.Since(edited); took > 2*time.Second {
		t.Errorf("the entry counts after %v", took)
	}
	replace(t, list, "leaver", "another")
	eventually(t, "the removal counts", func() bool { status, _ := s.status(t, "/users", raw); return status == 200 })
}

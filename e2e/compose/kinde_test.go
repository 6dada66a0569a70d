//go:build compose

package compose

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestKinde: the profile kinde with a domain that does not answer, since a real one has no place in a test: the service is up, knows whom to
// ask, and lets nobody pass whom Kinde has not named.
func TestKinde(t *testing.T) {
	p := start(t, "kinde", "KINDE_ISSUER_URL=https://kinde.invalid\nKINDE_AUDIENCE=https://api.acme.dev\n", "up", "--build", "--wait", "envoy-kinde")
	running := strings.Fields(p.must("ps", "--services"))
	slices.Sort(running)
	if want := []string{"envoy-kinde", "scopeward-kinde", "upstream"}; !slices.Equal(running, want) {
		t.Errorf("%v are running, want %v", running, want)
	}
	for path, want := range map[string]int{"/public/hello": 200, "/users": 401, "/elsewhere": 403} {
		if got, body := p.get("KINDE_PORT", path); got != want {
			t.Errorf("%s: %d, want %d: %s", path, got, want, body)
		}
	}
	// Of this issuer, until 2100; whether it is signed only Kinde's keys could tell.
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://kinde.invalid","aud":"https://api.acme.dev","exp":4102444800}`))
	token := "eyJhbGciOiJSUzI1NiJ9." + claims + ".AAAA"
	command := fmt.Sprintf("curl -sS -i --noproxy '*' -H 'Authorization: Bearer %s' http://127.0.0.1:%s/users", token, p.ports["KINDE_PORT"])
	if got := status(t, command); got != "503" {
		t.Errorf("a token while Kinde can't be asked: %s, want 503", got)
	}
	if log := p.must("logs", "scopeward-kinde"); !strings.Contains(log, "https://kinde.invalid/.well-known/openid-configuration") {
		t.Errorf("the log does not say whom it asks:\n%s", log)
	}
}

// TestKindeWithoutADomain: what is missing is said.
func TestKindeWithoutADomain(t *testing.T) {
	p := start(t, "kinde", "KINDE_AUDIENCE=https://api.acme.dev\n", "create", "--build", "scopeward-kinde")
	out, err := p.try(t.Context(), "run", "--rm", "scopeward-kinde")
	if err == nil || !strings.Contains(out, "environment variable KINDE_ISSUER_URL is not set") {
		t.Errorf("got %v:\n%s", err, out)
	}
}

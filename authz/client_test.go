package authz

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"scopeward/authz/ratelimit"
	"scopeward/authz/token"
	"scopeward/policy"
)

func TestClient(t *testing.T) {
	for _, test := range []struct {
		name, downstream, forwardedFor string
		hops                           int
		appends                        EnvoyAppends
		want                           string
		why                            unsatisfied
	}{
		{"no proxy is trusted", "198.51.100.1", "203.0.113.9", 0, AppendsAuto, "198.51.100.1", satisfied},
		{"one proxy in front", "10.0.0.1", "203.0.113.9", 1, AppendsAuto, "203.0.113.9", satisfied},
		{"Envoy has appended the proxy", "10.0.0.1", "203.0.113.9, 10.0.0.1", 1, AppendsAuto, "203.0.113.9", satisfied},
		{"what the client made up lies further left", "10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.1", 1, AppendsAuto, "203.0.113.9", satisfied},
		{"two proxies in front", "10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.2, 10.0.0.1", 2, AppendsAuto, "203.0.113.9", satisfied},
		{"fewer entries than proxies", "10.0.0.1", "203.0.113.9", 2, AppendsAuto, "", tooFewEntries},
		{"only Envoy's own", "10.0.0.1", "10.0.0.1", 1, AppendsAuto, "", tooFewEntries},
		{"no header", "10.0.0.1", "", 1, AppendsAuto, "", tooFewEntries},
		{"a name instead of an address", "10.0.0.1", "unknown", 1, AppendsAuto, "", noAddress},
		{"an obfuscated identifier", "10.0.0.1", "_hidden", 1, AppendsAuto, "", noAddress},
		{"a name among the proxies", "10.0.0.1", "203.0.113.9, unknown, 10.0.0.1", 2, AppendsAuto, "203.0.113.9", satisfied},
		{"an empty entry", "10.0.0.1", "6.6.6.6, , 10.0.0.1", 1, AppendsAuto, "", noAddress},
		{"an empty entry among the proxies", "10.0.0.1", "6.6.6.6, 203.0.113.9, , 10.0.0.1", 2, AppendsAuto, "", noAddress},
		{"nothing but a comma", "10.0.0.1", ",", 1, AppendsAuto, "", noAddress},

		{"a port", "10.0.0.1", "203.0.113.9:4711", 1, AppendsAuto, "203.0.113.9", satisfied},
		{"no such port", "10.0.0.1", "203.0.113.9:99999", 1, AppendsAuto, "", noAddress},
		{"IPv6", "10.0.0.1", "2001:DB8:0::1", 1, AppendsAuto, "2001:db8::1", satisfied},
		{"IPv6 and a port", "10.0.0.1", "[2001:db8::1]:443", 1, AppendsAuto, "2001:db8::1", satisfied},
		{"IPv6 in brackets", "10.0.0.1", "[2001:db8::1]", 1, AppendsAuto, "2001:db8::1", satisfied},
		{"IPv4 in brackets", "10.0.0.1", "[203.0.113.9]", 1, AppendsAuto, "", noAddress},
		{"a zone", "10.0.0.1", "fe80::1%eth0", 1, AppendsAuto, "fe80::1", satisfied},
		{"a zone and a port", "10.0.0.1", "[fe80::1%25eth0]:80", 1, AppendsAuto, "fe80::1", satisfied},
		{"IPv4-mapped", "10.0.0.1", "::ffff:203.0.113.9", 1, AppendsAuto, "203.0.113.9", satisfied},
		{"IPv4-mapped and a port", "10.0.0.1", "[::ffff:cb00:7109]:1", 1, AppendsAuto, "203.0.113.9", satisfied},
		{"Envoy's own, IPv6", "2001:db8::f", "203.0.113.9,2001:DB8::F", 1, AppendsAuto, "203.0.113.9", satisfied},

		{"loopback, and Envoy has appended its own", "127.0.0.1", "203.0.113.9,192.0.2.2", 1, AppendsAuto, "", onLoopback},
		{"loopback, and Envoy has not", "127.0.0.1", "203.0.113.9", 1, AppendsAuto, "", onLoopback},
		{"loopback twice", "127.0.0.1", "203.0.113.9,127.0.0.1", 1, AppendsAuto, "", onLoopback},
		{"IPv6 loopback", "::1", "203.0.113.9,192.0.2.2", 1, AppendsAuto, "", onLoopback},
		{"for Envoy only 127.0.0.1 is loopback", "127.0.0.2", "203.0.113.9,127.0.0.2", 1, AppendsAuto, "203.0.113.9", satisfied},

		{"always, on loopback", "127.0.0.1", "203.0.113.9,192.0.2.2", 1, AppendsAlways, "203.0.113.9", satisfied},
		{"always, on IPv6 loopback", "::1", "6.6.6.6,203.0.113.9,fd00::2", 1, AppendsAlways, "203.0.113.9", satisfied},
		{"always, too few", "127.0.0.1", "192.0.2.2", 1, AppendsAlways, "", tooFewEntries},
		{"always", "10.0.0.1", "203.0.113.9,10.0.0.1", 1, AppendsAlways, "203.0.113.9", satisfied},
		{"always is not true", "10.0.0.1", "6.6.6.6,203.0.113.9", 1, AppendsAlways, "", notAppended},
		{"always, without a header", "10.0.0.1", "", 1, AppendsAlways, "", notAppended},
		{"never, on loopback", "127.0.0.1", "6.6.6.6,203.0.113.9", 1, AppendsNever, "203.0.113.9", satisfied},
		{"never, though the proxy is its own client", "10.0.0.1", "6.6.6.6,10.0.0.1", 1, AppendsNever, "10.0.0.1", satisfied},

		{"a Unix socket", "", "6.6.6.6,203.0.113.9", 1, AppendsAuto, "203.0.113.9", satisfied},
		{"always, on a Unix socket", "", "6.6.6.6,203.0.113.9", 1, AppendsAlways, "203.0.113.9", satisfied},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, why := Hops{test.hops, test.appends}.client(test.downstream, test.forwardedFor)
			if got != test.want || why != test.why {
				t.Errorf("got %q, %d, want %q, %d", got, why, test.want, test.why)
			}
		})
	}
}

// TestUnknownClient: where the client is not known, a condition on its address denies in
// either form, the connection's address is counted and recorded, and the log says it once.
func TestUnknownClient(t *testing.T) {
	set, err := policy.Parse(policy.File{Name: "policy.yaml", Data: []byte(`
version: 1
rules:
  - {match: /inside, when: 'request.client_ip == "127.0.0.1"'}
  - {match: /outside, when: 'request.client_ip != "127.0.0.1"'}
  - match: /users
`)})
	if err != nil {
		t.Fatal(err)
	}
	s, out, _ := testServer(t, func(raw string) (*token.Identity, error) { return &token.Identity{Subject: raw}, nil }, func(s *Snapshot) {
		s.Policy, s.Hops = set, Hops{Trusted: 1}
		s.Limit = Limit{Limiter: ratelimit.NewMemory(ratelimit.Options{Max: 2, Window: time.Hour})}
	})
	var log bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	for _, step := range []struct {
		path, forwardedFor, token string
		want                      int
	}{
		{"/users", "203.0.113.9,192.0.2.2", "a", 0},
		{"/inside", "203.0.113.9,192.0.2.2", "a", 403},
		{"/outside", "203.0.113.9,192.0.2.2", "a", 403},
		{"/users", "203.0.113.8,192.0.2.2", "b", 0},
		{"/users", "203.0.113.7,192.0.2.2", "c", 429},
	} {
		in := get(step.path, "Bearer "+step.token)
		in.Attributes.Source = peer("127.0.0.1")
		in.Attributes.Request.Http.Headers["x-forwarded-for"] = step.forwardedFor
		if got := statusOf(check(t, s, in)); got != step.want {
			t.Errorf("%s with %s: %d, want %d", step.path, step.token, got, step.want)
		}
	}
	if n := strings.Count(log.String(), "rate_limit.envoy_appends"); n != 1 {
		t.Errorf("the log says it %d times:\n%s", n, &log)
	}
	s.audit.Close(time.Second)
	for line := range strings.Lines(out.String()) {
		if !strings.Contains(line, `"clientIp":""`) || !strings.Contains(line, `"peer":"127.0.0.1"`) {
			t.Errorf("the audit says %s", line)
		}
	}
}

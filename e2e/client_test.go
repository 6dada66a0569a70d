package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

const clientPolicy = `version: 1
rules:
  - {match: /client, when: 'request.client_ip == "203.0.113.9"'}
  - {match: /inside, when: 'request.client_ip.startsWith("192.0.2.") || request.client_ip.startsWith("127.")'}
  - {match: /outside, when: 'request.client_ip != "203.0.113.9"'}
`

// TestClientAddress: who the client is, through a real Envoy that appends to
// X-Forwarded-For, or does not, behind a proxy on loopback and behind others. 127.0.0.2
// is another for Envoy: its loopback is 127.0.0.1 and ::1.
func TestClientAddress(t *testing.T) {
	t.Parallel()
	const loopback, other, loopback6 = "127.0.0.1", "127.0.0.2", "::1"
	skip := func(manager map[string]any) { manager["skip_xff_append"] = true }
	notRemote := func(manager map[string]any) { manager["use_remote_address"] = false }
	both := func(listener map[string]any) {
		address := listener["address"].(map[string]any)["socket_address"].(map[string]any)
		address["address"], address["ipv4_compat"] = "::", true
	}
	idp, up := tokentest.New(t), newUpstream(t)
	tokenOf := idp.Mint(nil, nil)
	var targets []target
	scopewards := map[string]*scopeward{}
	for _, setup := range []struct {
		name    string
		hops    int
		appends string
		manager func(map[string]any)
	}{
		{"auto", 1, "auto", nil}, {"auto-skip", 1, "auto", skip}, {"auto-not-remote", 1, "auto", notRemote}, {"auto-two", 2, "auto", nil},
		{"always", 1, "always", nil}, {"always-skip", 1, "always", skip},
		{"never-skip", 1, "never", skip}, {"never-not-remote", 1, "never", notRemote},
	} {
		config := corpus.Configure(t, t.TempDir(), "jwks", idp, map[string]any{
			"rate_limit": map[string]any{"trusted_hops": setup.hops, "envoy_appends": setup.appends},
		}, map[string]string{"policy.yaml": clientPolicy})
		s := serve(t, "--config", config)
		scopewards[setup.name] = s
		targets = append(targets, target{name: setup.name, authz: s.grpc, manager: setup.manager, listener: both})
	}
	addresses := startEnvoy(t, up.Listener.Addr().String(), targets)
	ask := func(name, from, path string, forwardedFor []string) int {
		t.Helper()
		_, port, err := net.SplitHostPort(addresses[name])
		if err != nil {
			t.Fatal(err)
		}
		to := loopback
		if from == loopback6 {
			to = loopback6
		}
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}).Dial("tcp", net.JoinHostPort(to, port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var headers strings.Builder
		for _, value := range forwardedFor {
			fmt.Fprintf(&headers, "X-Forwarded-For: %s\r\n", value)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: api.example.com\r\n%sAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", path, &headers, tokenOf)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	const client, unknown = "203.0.113.9", ""
	for _, test := range []struct {
		setup, from string
		header      []string
		want        string // the client
	}{
		{"auto", other, []string{client}, client},
		{"auto", other, []string{"6.6.6.6, " + client}, client},
		{"auto", other, []string{"6.6.6.6", client}, client},
		{"auto", other, []string{client + ":4711"}, client},
		{"auto", other, []string{"[::ffff:" + client + "]:443"}, client},
		{"auto", other, []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		{"auto", other, []string{"fe80::1%eth0"}, "fe80::1"},
		{"auto", other, []string{client + ","}, unknown},
		{"auto", other, []string{"6.6.6.6", client, ""}, client}, // Envoy leaves out a header without a value
		{"auto", other, []string{"6.6.6.6, unknown"}, unknown},
		{"auto", other, []string{"6.6.6.6, _secret"}, unknown},
		{"auto", other, []string{`6.6.6.6, for="203.0.113.9"`}, unknown},
		{"auto", other, nil, unknown},
		{"auto", loopback, []string{client}, unknown},
		{"auto", loopback6, []string{client}, unknown},
		{"auto", loopback, nil, unknown},
		{"auto-skip", other, []string{"6.6.6.6", client}, client},
		{"auto-skip", loopback, []string{client}, unknown},
		{"auto-not-remote", other, []string{client}, client},
		{"auto-two", other, []string{client + ", 198.51.100.1"}, client},
		{"auto-two", other, []string{client}, unknown},
		{"auto-two", loopback, []string{client + ", 198.51.100.1"}, unknown},
		{"always", loopback, []string{client}, client},
		{"always", loopback6, []string{"6.6.6.6, " + client}, client},
		{"always", loopback, nil, unknown},
		{"always", other, []string{"6.6.6.6, " + client + ":1"}, client},
		{"always-skip", other, []string{"6.6.6.6, " + client}, unknown},
		{"never-skip", loopback, []string{"6.6.6.6, " + client}, client},
		{"never-skip", loopback, nil, unknown},
		{"never-not-remote", loopback6, []string{client}, client},
	} {
		name := fmt.Sprintf("%s from %s with %q", test.setup, test.from, test.header)
		wants := map[string]int{"/client": 403, "/inside": 403, "/outside": 403}
		switch test.want {
		case client:
			wants["/client"] = 200
		case unknown:
		default:
			wants["/outside"] = 200
		}
		for path, want := range wants {
			if got := ask(test.setup, test.from, path, test.header); got != want {
				t.Errorf("%s: %s answered %d, want %d", name, path, got, want)
			}
		}
	}
	for name, says := range map[string]string{
		"auto": "a proxy on loopback", "auto-skip": "a proxy on loopback", "auto-two": "fewer entries", "always-skip": "set it to never", "never-skip": "fewer entries",
	} {
		eventually(t, name+" says "+says, func() bool { return strings.Contains(scopewards[name].stderr.String(), says) })
		if log := scopewards[name].stderr.String(); strings.Count(log, says) != 1 || strings.Contains(log, "denied by a fault") {
			t.Errorf("%s should say %q once, and nothing for each request:\n%s", name, says, log)
		}
	}
	eventually(t, "the audit says who connected where the client is not known", func() bool {
		return strings.Contains(scopewards["auto"].stdout.String(), `"clientIp":""`) && strings.Contains(scopewards["auto"].stdout.String(), `"peer":"127.0.0.1"`) &&
			strings.Contains(scopewards["always"].stdout.String(), `"clientIp":"203.0.113.9"`)
	})
}

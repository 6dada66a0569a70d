package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"scopeward/internal/config"
	"scopeward/internal/healthcheck"
	"scopeward/internal/process"
	"scopeward/internal/testenv/pki"
)

// tlsService serves a configuration with this listen.tls on a port, until the
// test ends.
func tlsService(t *testing.T, dir, settings string) (s *service, address string, log *process.Output) {
	t.Helper()
	file := filepath.Join(dir, "scopeward.yaml")
	text := strings.Replace(tlsConfig(settings), "audiences", "validation: profile, opaque: false, audiences", 1) // needs no keys
	pki.Write(t, file, []byte(text))
	o := config.Options{File: file}
	f, err := config.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	log = &process.Output{}
	if s, err = newService(o, f, slog.New(slog.NewTextHandler(log, nil)), nil); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.serving.Store(true)
	health := newHealthService()
	health.set(healthv1.HealthCheckResponse_SERVING)
	g := s.newFront(grpcOptions{}, health)
	go g.Serve(listener)
	t.Cleanup(g.Stop)
	return s, listener.Addr().String(), log
}

// ask makes a connection and a request.
func ask(t *testing.T, address string, creds credentials.TransportCredentials) error {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = authv3.NewAuthorizationClient(conn).Check(ctx, &authv3.CheckRequest{})
	return err
}

// asClient are credentials with a pair, of a client that trusts a CA.
func asClient(t *testing.T, ca *pki.CA, pairs ...pki.Pair) credentials.TransportCredentials {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	config.RootCAs.AppendCertsFromPEM(ca.PEM)
	for _, p := range pairs {
		pair, err := tls.X509KeyPair(p.Cert, p.Key)
		if err != nil {
			t.Fatal(err)
		}
		// Also where the server's list of CAs lacks its own.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return credentials.NewTLS(config)
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pki.Write(t, filepath.Join(dir, "policy.yaml"), []byte(tlsPolicy))
	ca, stranger := pki.NewCA(t, "corporation"), pki.NewCA(t, "stranger")
	server := ca.Issue(t, pki.Leaf{Names: []string{"localhost"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	server.Write(t, dir, "tls")
	pki.Write(t, filepath.Join(dir, "ca.crt"), ca.PEM)
	const id = "spiffe://cluster.local/ns/edge/sa/envoy"
	s, address, log := tlsService(t, dir, "{cert: tls.crt, key: tls.key, client_ca: ca.crt, client_names: [envoy.example.com, '"+id+"']}")

	now := time.Now()
	named := func(names ...string) pki.Leaf { return pki.Leaf{Names: names} }
	for _, test := range []struct {
		name   string
		creds  credentials.TransportCredentials
		reason string // "" if it may
		says   string
	}{
		{"a DNS name", asClient(t, ca, ca.Issue(t, named("envoy.example.com"))), "", ""},
		{"a DNS name in another case", asClient(t, ca, ca.Issue(t, named("other", "Envoy.Example.com"))), "", ""},
		{"a SPIFFE ID", asClient(t, ca, ca.Issue(t, named(id))), "", ""},
		{"the service's own", asClient(t, ca, server), "", ""},
		{"no certificate", asClient(t, ca), refusedNoCertificate, "didn't provide a certificate"},
		{"another name", asClient(t, ca, ca.Issue(t, named("other.example.com"))), refusedName, `none of the certificate's names [\"other.example.com\"]`},
		{"a longer name", asClient(t, ca, ca.Issue(t, named("envoy.example.com.evil.example"))), refusedName, ""},
		{"a wildcard", asClient(t, ca, ca.Issue(t, named("*.example.com"))), refusedName, ""},
		{"two SPIFFE IDs", asClient(t, ca, ca.Issue(t, named(id, "spiffe://cluster.local/ns/x/sa/y"))), refusedName, ""},
		{"another CA", asClient(t, ca, stranger.Issue(t, named(id))), refusedUntrusted, "unknown authority"},
		{"expired", asClient(t, ca, ca.Issue(t, pki.Leaf{Names: []string{id}, NotBefore: now.Add(-2 * time.Hour), Expiry: now.Add(-time.Hour)})), refusedExpired, "expired"},
		{"for servers only", asClient(t, ca, ca.Issue(t, pki.Leaf{Names: []string{id}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})), refusedUsage, "incompatible key usage"},
		{"plaintext", insecure.NewCredentials(), refusedNoTLS, "does not look like a TLS handshake"},
		{"it doesn't trust the server", asClient(t, stranger, ca.Issue(t, named(id))), refusedByClient, "bad certificate"},
		{"TLS 1.1", credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}), refusedOther, "unsupported versions"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := map[string]float64{}
			for reason := range s.tls.refused.since {
				before[reason] = testutil.ToFloat64(s.tls.refused.total.WithLabelValues(reason))
			}
			err := ask(t, address, test.creds)
			if (err == nil) != (test.reason == "") {
				t.Errorf("error %v, want one: %v", err, test.reason != "")
			}
			grew := func(reason string) bool { // by one or more: a client may try again
				return testutil.ToFloat64(s.tls.refused.total.WithLabelValues(reason)) > before[reason]
			}
			// A client may know of its refusal before the service is told.
			for end := time.Now().Add(5 * time.Second); test.reason != "" && !grew(test.reason) && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			for reason := range before {
				if grew(reason) != (reason == test.reason) {
					t.Errorf("the count of %s grew: %v", reason, grew(reason))
				}
			}
			if test.says != "" && !strings.Contains(log.String(), test.says) {
				t.Errorf("the log doesn't say %q:\n%s", test.says, log)
			}
		})
	}
	if lines := strings.Count(log.String(), "reason="+refusedName); lines != 1 {
		t.Errorf("%d lines tell of clients with another name, want 1 in 10 s:\n%s", lines, log)
	}
}

// TestOneWayTLS: without client_ca no certificate is asked for; TLS 1.2 still passes.
func TestOneWayTLS(t *testing.T) {
	t.Parallel()
	dir := tlsFolder(t)
	_, address, _ := tlsService(t, dir, "{cert: good.crt, key: good.key}")
	for name, config := range map[string]*tls.Config{
		"TLS 1.3": {MinVersion: tls.VersionTLS13},
		"TLS 1.2": {MaxVersion: tls.VersionTLS12},
	} {
		config.RootCAs, config.ServerName = x509.NewCertPool(), "localhost"
		config.RootCAs.AppendCertsFromPEM(readFile(t, filepath.Join(dir, "ca.crt")))
		if err := ask(t, address, credentials.NewTLS(config)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRefusalsDontFlood: one line in 10 s for each reason, which tells how many
// others there were.
func TestRefusalsDontFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &process.Output{}
		r := newRefusals(prometheus.NewRegistry(), slog.New(slog.NewTextHandler(log, nil)))
		peer := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}
		for range 1000 {
			r.note(peer, &wrongNameError{&x509.Certificate{DNSNames: []string{strings.Repeat("long.", 10_000)}}}, time.Now())
		}
		r.note(peer, errors.New("something else"), time.Now())
		time.Sleep(silenceAfter)
		r.note(peer, &wrongNameError{&x509.Certificate{}}, time.Now())
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 || !strings.HasSuffix(lines[0], "others_since_the_last_line=0") || !strings.HasSuffix(lines[2], "others_since_the_last_line=999") {
			t.Errorf("the log is:\n%s", log)
		}
		if len(lines[0]) > 1000 {
			t.Errorf("a line has %d characters", len(lines[0]))
		}
		if n := testutil.ToFloat64(r.total.WithLabelValues(refusedName)); n != 1001 {
			t.Errorf("%v were counted, want 1001", n)
		}
	})
}

// TestCertificateReload: new files count for new connections; broken ones don't,
// and are said; what is wrong with the policy doesn't matter.
func TestCertificateReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pki.Write(t, filepath.Join(dir, "policy.yaml"), []byte(tlsPolicy))
	old, next := pki.NewCA(t, "old"), pki.NewCA(t, "next")
	expired := next.Issue(t, pki.Leaf{Names: []string{"localhost"}, NotBefore: time.Now().Add(-2 * time.Hour), Expiry: time.Now().Add(-time.Hour)})
	server, later := old.Issue(t, pki.Leaf{Names: []string{"localhost"}}), next.Issue(t, pki.Leaf{Names: []string{"localhost"}, Expiry: time.Now().Add(7 * time.Hour)})
	client, lateClient := old.Issue(t, pki.Leaf{Names: []string{"envoy"}}), next.Issue(t, pki.Leaf{Names: []string{"envoy"}})
	server.Write(t, dir, "tls")
	pki.Write(t, filepath.Join(dir, "ca.crt"), old.PEM)
	s, address, log := tlsService(t, dir, "{cert: tls.crt, key: tls.key, client_ca: ca.crt}")
	reload := func() {
		s.reload(t.Context(), nil, false)
		s.tls.reload(s.state.Load().Config, s.log, false)
	}
	reasons := func() string { return strings.Join(s.readiness().Reasons, "\n") }

	if err := ask(t, address, asClient(t, old, client)); err != nil {
		t.Fatal(err)
	}
	pki.Write(t, filepath.Join(dir, "policy.yaml"), []byte("broken")) // for good
	for name, broken := range map[string]func(){
		"does not fit": func() { pki.Write(t, filepath.Join(dir, "tls.crt"), later.Cert) },
		"has expired":  func() { expired.Write(t, dir, "tls") },
		"holds no cer": func() { pki.Write(t, filepath.Join(dir, "tls.crt"), nil) },
	} {
		broken()
		reload()
		reload()
		if err := ask(t, address, asClient(t, old, client)); err != nil {
			t.Errorf("the last good pair doesn't serve on: %v", err)
		}
		if !strings.Contains(reasons(), "scopeward.yaml:3:") || !strings.Contains(reasons(), name) || strings.Count(log.String(), name) != 1 {
			t.Errorf("%q is to be said, once in the log; /readyz says:\n%s\nthe log:\n%s", name, reasons(), log)
		}
		if !s.readiness().Ready {
			t.Error("it is not ready")
		}
	}
	later.Write(t, dir, "tls")
	pki.Write(t, filepath.Join(dir, "ca.crt"), next.PEM)
	reload()
	if err := ask(t, address, asClient(t, next, lateClient)); err != nil {
		t.Errorf("the new pair and CA don't serve: %v", err)
	}
	if err := ask(t, address, asClient(t, next, client)); err == nil {
		t.Error("a client of the old CA still passes")
	}
	if strings.Contains(reasons(), "tls") || !strings.Contains(reasons(), "policy.yaml") {
		t.Errorf("/readyz says:\n%s", reasons())
	}
	if end := expiry(s.tls.current.Load()); time.Until(end) < 6*time.Hour {
		t.Errorf("the certificate in force expires at %s", end)
	}
}

// TestExpiryIsSaid: of a certificate that expires while it serves.
func TestExpiryIsSaid(t *testing.T) {
	t.Parallel()
	s, _, _ := tlsService(t, tlsFolder(t), "{cert: good.crt, key: good.key}")
	if why := s.tls.why(time.Now()); why != nil {
		t.Errorf("nothing is wrong, but it says %q", why)
	}
	if why := strings.Join(s.tls.why(time.Now().Add(2*time.Hour)), ""); !strings.Contains(why, "has expired at") {
		t.Errorf("an expired certificate: %q", why)
	}
}

// TestHealthcheckOverTLS: it is let in by the service's own certificate, whatever
// that is for, and knows of a service whose files on disk are broken.
func TestHealthcheckOverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pki.Write(t, filepath.Join(dir, "policy.yaml"), []byte(tlsPolicy))
	ca := pki.NewCA(t, "corporation")
	ca.Issue(t, pki.Leaf{Names: []string{"localhost"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}).Write(t, dir, "tls")
	pki.Write(t, filepath.Join(dir, "ca.crt"), ca.PEM)

	file := filepath.Join(dir, "scopeward.yaml")
	ask := func(file, address string) error {
		t.Helper()
		c, err := config.ReadListen(config.Options{File: file, GRPC: address})
		if err != nil {
			t.Fatal(err)
		}
		return healthcheck.Ask(t.Context(), c, 10*time.Second)
	}
	good := func(address string) {
		t.Helper()
		if err := ask(file, address); err != nil {
			t.Error(err)
		}
	}
	bad := func(file, address, says string) {
		t.Helper()
		if err := ask(file, address); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("it says %v, want %q", err, says)
		}
	}
	_, oneWay, _ := tlsService(t, dir, "{cert: tls.crt, key: tls.key}")
	good(oneWay)
	bad("", oneWay, "if it has listen.tls, tell its --config")

	s, mutual, _ := tlsService(t, dir, "{cert: tls.crt, key: tls.key, client_ca: ca.crt, client_names: [envoy]}")
	admin := httptest.NewServer(s.newAdmin().Handler)
	t.Cleanup(admin.Close)
	text := strings.Replace(string(readFile(t, file)), "  tls:", "  admin: "+admin.Listener.Addr().String()+"\n  tls:", 1)
	pki.Write(t, file, []byte(text))
	good(mutual)

	pki.Write(t, filepath.Join(dir, "tls.key"), []byte("broken"))
	good(mutual)
	ca.Issue(t, pki.Leaf{Names: []string{"localhost"}}).Write(t, dir, "tls") // not in force yet
	good(mutual)
	admin.Close()
	bad(file, mutual, "tls: bad certificate; tell its listen.tls by --config")
	pki.Write(t, filepath.Join(dir, "tls.key"), []byte("broken"))
	bad(file, mutual, "scopeward.yaml:4:29: listen.tls.key: tls.key can't be used")
}

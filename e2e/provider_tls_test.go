package e2e

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/pki"
	"scopeward/internal/testenv/tokentest"
)

// overTLS serves a provider over TLS as well, with a certificate of a CA for
// 127.0.0.1, idp.invalid and acme.kinde.com; it gives host:port.
func overTLS(t *testing.T, idp *tokentest.Provider, ca *pki.CA) string {
	t.Helper()
	target, err := url.Parse(idp.URL)
	if err != nil {
		t.Fatal(err)
	}
	pair := ca.Issue(t, pki.Leaf{Names: []string{"127.0.0.1", "idp.invalid", "acme.kinde.com"}})
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(target))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// profileAt is a provider whose profiles are looked up at a host, so that each new
// token needs it.
func profileAt(idp *tokentest.Provider, host, ca string) map[string]any {
	provider := map[string]any{
		"name": "idp", "issuer": idp.URL, "validation": "profile", "timeout": "5s",
		"profile": map[string]any{"url": "https://" + host + tokentest.ProfilePath},
	}
	if ca != "" {
		provider["ca"] = ca
	}
	return map[string]any{"providers": []any{provider}}
}

// TestProviderCA: a provider's certificate must come from the CA that the
// configuration names, of which a change counts at once.
func TestProviderCA(t *testing.T) {
	t.Parallel()
	idp, ca, other := tokentest.New(t), pki.NewCA(t, "corporation"), pki.NewCA(t, "other")
	host := overTLS(t, idp, ca)
	dir := t.TempDir()
	file := filepath.Join(dir, "corp-ca.crt")
	pki.Write(t, file, other.PEM)
	s := &system{idp: idp, dir: dir}
	s.config = corpus.Configure(t, dir, "profile", idp, profileAt(idp, host, "corp-ca.crt"), map[string]string{"policy.yaml": usersPolicy})
	s.scopeward = serve(t, "--config", s.config)
	s.url = "http://" + startEnvoy(t, newUpstream(t).Listener.Addr().String(), []target{{name: "public", authz: s.grpc}})["public"]

	n := 0
	status := func() int {
		n++
		status, _ := s.status(t, "/users", idp.Mint(map[string]any{"sub": "user" + string(rune('a'+n%26)), "n": n}, nil))
		return status
	}
	if got := status(); got != 503 {
		t.Errorf("with another CA it answered %d, want 503", got)
	}
	for _, want := range []string{"unknown authority", "if its CA is your own, name it in the provider's ca"} {
		eventually(t, "the log says: "+want, func() bool { return strings.Contains(s.stderr.String(), want) })
	}
	pki.Write(t, file, ca.PEM)
	eventually(t, "the right CA is in force", func() bool { return status() == 200 })
	pki.Write(t, file, []byte("nothing"))
	eventually(t, "the broken file is said", func() bool {
		return strings.Contains(s.page(t, "/readyz"), "corp-ca.crt holds no certificate in PEM form")
	})
	if got := status(); got != 200 {
		t.Errorf("with the last good CA it answered %d, want 200", got)
	}
	pki.Write(t, file, other.PEM)
	eventually(t, "the other CA is in force again", func() bool { return status() == 503 })
}

// proxy is a real HTTP proxy that knows CONNECT only, and leads wherever it is
// asked for to one address.
type proxy struct {
	*httptest.Server
	refuse atomic.Bool
	mu     sync.Mutex
	asked  []string // what was to be connected, with the credentials
}

func newProxy(t *testing.T, to string) *proxy {
	p := &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked = append(p.asked, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
		p.mu.Unlock()
		if r.Method != http.MethodConnect || p.refuse.Load() {
			http.Error(w, "no", http.StatusProxyAuthRequired)
			return
		}
		behind, err := net.Dial("tcp", to)
		if err != nil {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		defer behind.Close()
		w.WriteHeader(http.StatusOK)
		client, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		go func() {
			_, _ = io.Copy(behind, buffered)
			behind.Close()
		}()
		_, _ = io.Copy(client, behind)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// TestProxy: HTTPS_PROXY and NO_PROXY of the environment count for a provider that
// is not on this machine.
func TestProxy(t *testing.T) {
	t.Parallel()
	idp, ca := tokentest.New(t), pki.NewCA(t, "corporation")
	proxy := newProxy(t, overTLS(t, idp, ca))
	environment := func(more ...string) []string {
		return append([]string{"HTTPS_PROXY=http://scopeward:canary@" + proxy.Listener.Addr().String(), "https_proxy=", "HTTP_PROXY=", "http_proxy=", "no_proxy="}, more...)
	}
	begin := func(environment []string) *system {
		t.Helper()
		dir := t.TempDir()
		pki.Write(t, filepath.Join(dir, "corp-ca.crt"), ca.PEM)
		s := &system{idp: idp, dir: dir}
		s.config = corpus.Configure(t, dir, "profile", idp, profileAt(idp, "idp.invalid", "corp-ca.crt"), map[string]string{"policy.yaml": usersPolicy})
		s.scopeward = serveIn(t, environment, "--config", s.config)
		s.url = "http://" + startEnvoy(t, newUpstream(t).Listener.Addr().String(), []target{{name: "public", authz: s.grpc}})["public"]
		return s
	}
	through := begin(environment("NO_PROXY="))
	through.want(t, "/users", idp.Mint(nil, nil), 200)
	if got := strings.Join(proxy.requests(), "\n"); got != "CONNECT idp.invalid:443 Basic c2NvcGV3YXJkOmNhbmFyeQ==" {
		t.Errorf("the proxy was asked for %q", got)
	}
	around := begin(environment("NO_PROXY=.invalid"))
	around.want(t, "/users", idp.Mint(nil, nil), 503) // no name server knows it: RFC 6761
	if n := len(proxy.requests()); n != 1 {
		t.Errorf("the proxy was asked %d times, want once", n)
	}

	proxy.refuse.Store(true)
	refused := begin(environment("NO_PROXY="))
	refused.want(t, "/users", idp.Mint(nil, nil), 503)
	eventually(t, "the log says why", func() bool {
		return strings.Contains(refused.stderr.String(), "the proxy of the environment answered 407 Proxy Authentication Required to CONNECT")
	})
	output := refused.stdout.String() + refused.stderr.String()
	if strings.Contains(output, "canary") {
		t.Errorf("it shows the proxy's password:\n%s", output)
	}
}

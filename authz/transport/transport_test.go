package transport

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"scopeward/authz"
	"scopeward/authz/token"
	"scopeward/policy"
)

const testPolicy = `
version: 1
rules:
  - match: /public
    public: true
  - match: GET /users
    scopes: [read:users]
`

const (
	maxStreams = 128
	maxMessage = 256 << 10
	maxHeader  = 16 << 10
)

// gate is a verifier of opaque tokens. One that begins with slow waits until the gate is
// opened, or the context ends; one that begins with bad is refused.
type gate struct {
	arrived chan string // gets each slow token
	open    chan struct{}
}

func newGate() *gate { return &gate{make(chan string, 1<<16), make(chan struct{})} }

func (g *gate) Verify(ctx context.Context, t *token.Token) (*token.Identity, error) {
	switch {
	case strings.HasPrefix(t.Raw, "bad"):
		return nil, token.Invalidf("bad")
	case strings.HasPrefix(t.Raw, "slow"):
		g.arrived <- t.Raw
		select {
		case <-g.open:
		case <-ctx.Done():
			return nil, &token.UnavailableError{Reason: "too late", Err: ctx.Err()}
		}
	}
	return &token.Identity{Subject: "alice", Provider: "test", Scopes: []string{"read:users"}}, nil
}

// newChecks makes what decides.
func newChecks(t testing.TB, verifier token.Verifier) *authz.Server {
	t.Helper()
	set, err := policy.Parse(policy.File{Name: "policy.yaml", Data: []byte(testPolicy)})
	if err != nil {
		t.Fatal(err)
	}
	return authz.NewServer(&authz.Snapshot{
		Policy: set, Realm: "api",
		Validator: token.NewValidator(token.Options{
			Providers: []token.Provider{{Name: "test", Issuer: "https://issuer.example", Tokens: token.Any, Verifier: verifier}},
		}),
	}, nil, authz.NewMetrics(prometheus.NewRegistry(), nil), slog.New(slog.DiscardHandler))
}

// newGRPC makes the server of all else, which serves checks as well.
func newGRPC(checks *authz.Server) *grpc.Server {
	g := grpc.NewServer(authz.Codec(), grpc.MaxConcurrentStreams(maxStreams), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxHeaderListSize(maxHeader))
	checks.Register(g)
	healthv1.RegisterHealthServer(g, health.NewServer())
	reflection.Register(g)
	return g
}

// newServer makes the native server.
func newServer(t testing.TB, checks *authz.Server, creds credentials.TransportCredentials) *Server {
	t.Helper()
	return New(Options{
		Checks: checks, Other: newGRPC(checks), Credentials: creds,
		Log:        slog.New(slog.NewTextHandler(logWriter{t}, nil)),
		Registerer: prometheus.NewRegistry(),
		MaxStreams: maxStreams, MaxMessage: maxMessage, MaxHeader: maxHeader,
	})
}

// logWriter fails a test in which the server logs an error: it does only if it panicked.
type logWriter struct{ t testing.TB }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Errorf("%s", b)
	return len(b), nil
}

// listen opens a port of loopback.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// onBoth runs a test against both servers; verifier decides for each.
func onBoth(t *testing.T, test func(t *testing.T, address string, g *gate)) {
	t.Run("native", func(t *testing.T) {
		g := newGate()
		address, _ := startNative(t, g)
		test(t, address, g)
	})
	t.Run("grpc-go", func(t *testing.T) {
		g, l := newGate(), listen(t)
		server := newGRPC(newChecks(t, g))
		go server.Serve(l)
		t.Cleanup(server.Stop)
		test(t, l.Addr().String(), g)
	})
}

func startNative(t testing.TB, g *gate) (address string, s *Server) {
	t.Helper()
	l := listen(t)
	s = newServer(t, newChecks(t, g), insecure.NewCredentials())
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l.Addr().String(), s
}

func dial(t testing.TB, address string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// get is a CheckRequest.
func get(path, tok string) *authv3.CheckRequest {
	headers := map[string]string{}
	if tok != "" {
		headers["authorization"] = "Bearer " + tok
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
		Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Host: "api.example.com", Path: path, Headers: headers},
	}}}
}

// codeOf is what was decided.
func codeOf(r *authv3.CheckResponse) string {
	return r.GetDynamicMetadata().GetFields()["code"].GetStringValue()
}

// timely is a context for what must not take long.
func timely(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

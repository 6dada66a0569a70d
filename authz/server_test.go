package authz

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"scopeward/authz/ratelimit"
	"scopeward/authz/token"
	"scopeward/authz/wire"
	"scopeward/internal/testenv/tokentest"
	"scopeward/policy"
)

// verifierFunc is a verifier for tests of what lies around it.
type verifierFunc func(raw string) (*token.Identity, error)

func (f verifierFunc) Verify(_ context.Context, t *token.Token) (*token.Identity, error) {
	return f(t.Raw)
}

const testPolicy = `
version: 1
rules:
  - match: /public
    public: true
  - match: GET /users
    scopes: [read:users]
  - match: GET /orgs/{id}
    when: identity.claims.org == path.id
  - match: /admin
    scopes: [admin, write:users]
`

// testServer has the headers x-auth-subject, -scopes and -org.
func testServer(t testing.TB, verify verifierFunc, change func(*Snapshot)) (*Server, *bytes.Buffer, *prometheus.Registry) {
	t.Helper()
	set, err := policy.Parse(policy.File{Name: "policy.yaml", Data: []byte(testPolicy)})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer // read only after the audit is closed
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	audit := NewLineWriter(&out, nil)
	t.Cleanup(func() { audit.Close(time.Second) })
	registry := prometheus.NewRegistry()
	snapshot := &Snapshot{
		Policy: set,
		Realm:  "api",
		Validator: token.NewValidator(token.Options{
			Providers: []token.Provider{{Name: "test", Issuer: "https://issuer.example", Tokens: token.Any, Verifier: verify}},
		}),
	}
	for name, field := range map[string]string{"x-auth-subject": "identity.subject", "x-auth-scopes": "identity.scopes", "x-auth-org": "identity.claims.org"} {
		h, err := NewHeader(name, field)
		if err != nil {
			t.Fatal(err)
		}
		snapshot.Headers = append(snapshot.Headers, h)
	}
	if change != nil {
		change(snapshot)
	}
	return NewServer(snapshot, audit, NewMetrics(registry, audit), log), &out, registry
}

func get(path, authorization string) *authv3.CheckRequest {
	headers := map[string]string{}
	if authorization != "" {
		headers["authorization"] = authorization
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
		Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Host: "api.example.com", Path: path, Headers: headers},
	}}}
}

func check(t testing.TB, s *Server, in *authv3.CheckRequest) *authv3.CheckResponse {
	t.Helper()
	response, err := s.Check(t.Context(), in)
	if err != nil {
		t.Fatalf("Check returned a gRPC error, which Envoy takes for a bare 403: %v", err)
	}
	if _, err := proto.Marshal(response); err != nil {
		t.Fatalf("the response can't be sent: %v", err)
	}
	return response
}

func responded(s *Snapshot, e *Event) *authv3.CheckResponse {
	s.respond(e)
	return e.reply.Message()
}

func statusOf(r *authv3.CheckResponse) int { return int(r.GetDeniedResponse().GetStatus().GetCode()) }

// TestErrors: every error of a verifier is a denial, of its own kind.
func TestErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		verify verifierFunc
		want   int
	}{
		{"invalid", func(string) (*token.Identity, error) { return nil, token.Invalidf("expired") }, 401},
		{"unavailable", func(string) (*token.Identity, error) { return nil, &token.UnavailableError{Reason: "down"} }, 503},
		{"an error that nobody knows", func(string) (*token.Identity, error) { return nil, errors.New("?") }, 500},
		{"no identity and no error", func(string) (*token.Identity, error) { return nil, nil }, 500},
		{"panic", func(string) (*token.Identity, error) { panic("verifier") }, 500},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _, _ := testServer(t, test.verify, nil)
			response := check(t, s, get("/users", "Bearer opaque"))
			if statusOf(response) != test.want {
				t.Errorf("status %d, want %d", statusOf(response), test.want)
			}
		})
	}
}

// TestPanicDenies: whatever panics, the request is denied.
func TestPanicDenies(t *testing.T) {
	s, _, _ := testServer(t, nil, func(s *Snapshot) { s.Validator = nil })
	if got := statusOf(check(t, s, get("/users", "Bearer opaque"))); got < 400 {
		t.Errorf("status %d, want a denial", got)
	}
}

// TestZeroValuesDeny: what was forgotten never allows.
func TestZeroValuesDeny(t *testing.T) {
	var snapshot Snapshot
	var forgotten wire.Response
	if response := forgotten.Message(); response.GetDeniedResponse() == nil || response.GetStatus().GetCode() == int32(codes.OK) {
		t.Errorf("the zero reply gives %v", response)
	}
	if response := responded(&snapshot, &Event{}); response.GetDeniedResponse() == nil || response.GetStatus().GetCode() == int32(codes.OK) {
		t.Errorf("the zero verdict gives %v", response)
	}
	for c := range 256 {
		response := responded(&snapshot, &Event{verdict: verdict{code: code(c)}})
		if code(c) != codeAllow && (response.GetDeniedResponse() == nil || response.GetStatus().GetCode() == int32(codes.OK)) {
			t.Errorf("code %d gives %v", c, response)
		}
	}
	if v := judged(policy.Decision{}); v.code == codeAllow {
		t.Error("the zero decision allows")
	}
}

// TestClaimsBecomeNoHeaderLines: controls in a claim cost the header, and the
// client's copy goes too.
func TestClaimsBecomeNoHeaderLines(t *testing.T) {
	s, _, _ := testServer(t, func(string) (*token.Identity, error) {
		id := &token.Identity{Subject: "alice", Scopes: []string{"read:users"}}
		id.SetClaims(tokentest.Decoded(map[string]any{"org": "a\r\nx-admin: yes"}))
		return id, nil
	}, nil)
	ok := check(t, s, get("/users", "Bearer opaque")).GetOkResponse()
	if ok == nil {
		t.Fatal("denied")
	}
	for _, h := range ok.GetHeaders() {
		if h.GetHeader().GetKey() == "x-auth-org" {
			t.Errorf("x-auth-org is %q", h.GetHeader().GetValue())
		}
	}
	if got := strings.Join(ok.GetHeadersToRemove(), " "); got != "x-auth-org" {
		t.Errorf("removed: %q, want x-auth-org", got)
	}
}

func TestNewHeaderRefuses(t *testing.T) {
	for _, test := range []struct{ name, field, want string }{
		{"x-auth-subject", "identity.sub", "no field of an identity"},
		{"x-auth-subject", "subject", "no field of an identity"},
		{"x-auth-subject", "identity.claims.", "no field of an identity"},
		{"authorization", "identity.subject", "belongs to the request itself"},
		{":path", "identity.subject", "is not a header name"},
		{"x auth", "identity.subject", "is not a header name"},
		{"", "identity.subject", "is not a header name"},
	} {
		if _, err := NewHeader(test.name, test.field); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %q gives %v, want %s", test.name, test.field, err, test.want)
		}
	}
}

// TestEveryRequestCounts: rate_limit.count: requests counts cached tokens too.
func TestEveryRequestCounts(t *testing.T) {
	verify := func(string) (*token.Identity, error) { return &token.Identity{Scopes: []string{"read:users"}}, nil }
	for _, everyRequest := range []bool{false, true} {
		s, _, _ := testServer(t, verify, func(s *Snapshot) {
			s.Limit = Limit{Limiter: ratelimit.NewMemory(ratelimit.Options{Max: 2, Window: time.Hour}), EveryRequest: everyRequest}
		})
		var statuses []int
		for range 4 {
			in := get("/users", "Bearer opaque")
			in.Attributes.Source = peer("203.0.113.9")
			statuses = append(statuses, statusOf(check(t, s, in)))
		}
		last := 0
		if everyRequest {
			last = 429
		}
		if statuses[0] != 0 || statuses[3] != last {
			t.Errorf("EveryRequest %v: statuses %v", everyRequest, statuses)
		}
	}
}

// TestConditionErrorIsCounted: a condition that can't be evaluated denies, and shows.
func TestConditionErrorIsCounted(t *testing.T) {
	s, _, registry := testServer(t, func(string) (*token.Identity, error) { return &token.Identity{Subject: "a"}, nil }, nil)
	if got := statusOf(check(t, s, get("/orgs/acme", "Bearer opaque"))); got != 403 {
		t.Errorf("status %d, want 403", got)
	}
	want := `
# HELP scopeward_condition_errors_total Requests denied because a rule's condition (when) could not be evaluated.
# TYPE scopeward_condition_errors_total counter
scopeward_condition_errors_total 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "scopeward_condition_errors_total"); err != nil {
		t.Error(err)
	}
}

func TestMetricsAreWellFormed(t *testing.T) {
	_, _, registry := testServer(t, nil, nil)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestNoSecretsInAudit: neither the token nor the query is in the audit.
func TestNoSecretsInAudit(t *testing.T) {
	const canary = "canary-7f3a"
	s, out, _ := testServer(t, func(string) (*token.Identity, error) { return nil, token.Invalidf("no") }, nil)
	for _, in := range []*authv3.CheckRequest{
		get("/users", "Bearer "+canary), get("/users", "Bearer "+canary+" x"), get("/users", canary), get("/users?t="+canary, ""),
		get("//?t="+canary, ""), get("/a%?"+canary, "Bearer "+canary), get("/public?"+canary, "Basic "+canary),
	} {
		if body := check(t, s, in).String(); strings.Contains(body, canary) {
			t.Errorf("the answer shows the token: %s", body)
		}
	}
	s.audit.Close(time.Second)
	if strings.Contains(out.String(), canary) {
		t.Errorf("the audit shows the token: %s", out)
	}
}

func authorizationOf(in *authv3.CheckRequest) string {
	var r wire.Request
	r.Read(in)
	r.JoinRaw()
	return r.Header("authorization")
}

// FuzzCheck: whatever the bytes of a CheckRequest, the answer is one that Envoy
// reads as it is meant: an explicit denial, or an allow of a public path or of
// the token that is good.
func FuzzCheck(f *testing.F) {
	s, _, _ := testServer(f, func(raw string) (*token.Identity, error) {
		if raw == "good" {
			return &token.Identity{Subject: "alice", Scopes: []string{"read:users"}}, nil
		}
		return nil, token.Invalidf("not good")
	}, nil)
	for _, in := range []*authv3.CheckRequest{{}, get("/public", ""), get("/users", "Bearer good"), get("/users", "Bearer bad"), get("//", "")} {
		b, err := proto.Marshal(in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := &authv3.CheckRequest{}
		if proto.Unmarshal(b, in) != nil {
			return
		}
		authorization := authorizationOf(in)
		response := check(t, s, in)
		if response.GetDeniedResponse() != nil {
			if response.GetStatus().GetCode() == int32(codes.OK) || statusOf(response) < 400 {
				t.Errorf("a denial that Envoy reads as an allow: %v", response)
			}
			return
		}
		http := in.GetAttributes().GetRequest().GetHttp()
		path, _, _ := strings.Cut(http.GetPath(), "?")
		if path != "/public" && !strings.Contains(authorization, "good") && !strings.Contains(path, "%") {
			t.Errorf("%s %s with %q was allowed", http.GetMethod(), http.GetPath(), authorization)
		}
	})
}

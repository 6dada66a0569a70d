package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"scopeward/authz"
	"scopeward/authz/audit"
	"scopeward/internal/config"
	"scopeward/internal/strictyaml"
	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/schematest"
	"scopeward/internal/testenv/tokentest"
)

// TestCorpus runs the cases in process, in each mode, with each server of the gRPC
// listener; package e2e runs them through Envoy. The codecs know nothing of modes: one
// runs with the generated codec as well.
func TestCorpus(t *testing.T) {
	events := schematest.Compile(t, eventSchema(t))
	for _, c := range corpus.Load(t, os.DirFS("../../e2e/testdata/corpus")) {
		if !slices.Contains(c.Runs, "process") {
			continue
		}
		for i, mode := range c.Modes {
			for _, server := range []string{config.ServerNative, config.ServerGRPCGo, "generated"} {
				if server == "generated" && i > 0 {
					continue
				}
				t.Run(c.Name+"/"+mode+"/"+server, func(t *testing.T) {
					t.Parallel()
					runCase(t, c, mode, server, events)
				})
			}
		}
	}
}

func runCase(t *testing.T, c *corpus.Case, mode, server string, schema *schematest.Validator) {
	idp := tokentest.New(t)
	s, written := startService(t, c.Setup(t, t.TempDir(), mode, idp))
	o := grpcOptions{generatedCodec: server == "generated"}
	if !o.generatedCodec {
		s.state.Load().Config.Listen.Server = server
	}
	client := connect(t, s.newFront(o, newHealthService()))
	tokens := c.Mint(t, idp)
	var responses []*authv3.CheckResponse
	for _, step := range c.Steps {
		wire := c.Wire(t, step, tokens)
		request := corpus.Read(t, wire)
		response, err := client.Check(t.Context(), checkRequest(request, c.Policy))
		if err != nil {
			t.Fatalf("%s: %v", step.Name, err)
		}
		responses = append(responses, response)
	}
	s.audit.Close(10 * time.Second)
	events := json.NewDecoder(written)
	for i, step := range c.Steps {
		t.Run(step.Name, func(t *testing.T) {
			request := corpus.Read(t, c.Wire(t, step, tokens))
			step.Answer.Compare(t, outcome(request, responses[i]))
			corpus.CompareMembers(t, "metadata", step.Answer.Metadata, responses[i].GetDynamicMetadata().AsMap())
			var line json.RawMessage
			if err := events.Decode(&line); err != nil {
				t.Fatalf("no audit event: %v", err)
			}
			if !o.generatedCodec { // its events are the same
				if err := schema.Validate(line); err != nil {
					t.Errorf("the audit event %s is not of its schema: %v", line, err)
				}
			}
			var event map[string]any
			if err := json.Unmarshal(line, &event); err != nil {
				t.Fatal(err)
			}
			corpus.CompareMembers(t, "audit", step.Answer.Audit, event)
		})
	}
}

// eventSchema is that of the audit events of this version, which have no member more.
func eventSchema(t *testing.T) strictyaml.JSONSchema {
	t.Helper()
	schema, err := audit.Schema()
	if err != nil {
		t.Fatal(err)
	}
	schema["additionalProperties"] = false
	return schema
}

// connect serves g within the process.
func connect(t *testing.T, g front) authv3.AuthorizationClient {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	go g.Serve(listener)
	t.Cleanup(g.Stop)
	conn, err := grpc.NewClient("passthrough:", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return authv3.NewAuthorizationClient(conn)
}

// startService runs a configuration without its listeners until the test ends.
func startService(t *testing.T, file string) (*service, *bytes.Buffer) {
	t.Helper()
	o := config.Options{File: file}
	f, err := config.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	var events bytes.Buffer // read only after the audit is closed
	s, err := newService(o, f, slog.New(slog.NewTextHandler(testWriter{t}, nil)), authz.NewLineWriter(&events, nil))
	if err != nil {
		t.Fatal(err)
	}
	group, ctx := errgroup.WithContext(t.Context())
	t.Cleanup(func() {
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
	for _, p := range s.state.Load().providers {
		p.Start(ctx, group.Go)
	}
	if !s.waitReady(ctx) {
		t.Fatal(ctx.Err())
	}
	return s, &events
}

// testWriter shows a log with the test that wrote it.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Logf("%s", bytes.TrimRight(b, "\n"))
	}
	return len(b), nil
}

// checkRequest is what Envoy would ask.
func checkRequest(r corpus.Request, policyName string) *authv3.CheckRequest {
	request := &authv3.AttributeContext_Request{}
	if r.Method != "TCP" {
		request.Http = &authv3.AttributeContext_HttpRequest{Method: r.Method, Path: r.Target, Host: r.Host, Scheme: "http", Headers: r.Headers}
	}
	attributes := &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: "127.0.0.1"},
		}}},
		Request: request,
	}
	if policyName != "" {
		attributes.ContextExtensions = map[string]string{"policy": policyName}
	}
	return &authv3.CheckRequest{Attributes: attributes}
}

// outcome does to the request what Envoy does by the response: set headers,
// then remove some; an OK without a denial passes.
func outcome(r corpus.Request, response *authv3.CheckResponse) corpus.Outcome {
	if denied := response.GetDeniedResponse(); denied != nil {
		o := corpus.Outcome{Status: int(denied.GetStatus().GetCode()), Headers: http.Header{}, Body: []byte(denied.GetBody())}
		for _, h := range denied.GetHeaders() {
			o.Headers.Set(h.GetHeader().GetKey(), h.GetHeader().GetValue())
		}
		if response.GetStatus().GetCode() == 0 {
			o.Status = http.StatusOK // Envoy ignores the denial
		}
		return o
	}
	o := corpus.Outcome{Status: http.StatusOK, Headers: http.Header{}, Upstream: http.Header{}}
	o.Upstream.Set(":path", r.Target)
	for name, value := range r.Headers {
		o.Upstream.Set(name, value)
	}
	for _, h := range response.GetOkResponse().GetHeaders() {
		o.Upstream.Set(h.GetHeader().GetKey(), h.GetHeader().GetValue())
	}
	for _, name := range response.GetOkResponse().GetHeadersToRemove() {
		o.Upstream.Del(name)
	}
	for _, h := range response.GetOkResponse().GetResponseHeadersToAdd() {
		o.Headers.Set(h.GetHeader().GetKey(), h.GetHeader().GetValue())
	}
	return o
}

// TestEveryAnswerHasACase holds the corpus against the table of answers.
func TestEveryAnswerHasACase(t *testing.T) {
	table := map[string]int{
		"missing_token": 401, "invalid_request": 401, "invalid_token": 401, "invalid_dpop_proof": 401, "use_dpop_nonce": 401, "insufficient_scope": 403, "insufficient_user_authentication": 401, "access_denied": 403, "cross_site": 403,
		"invalid_path": 400, "rate_limited": 429, "unavailable": 503, "internal_error": 500, "allow": 200, "metadata": 200,
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(table)), slices.Sorted(slices.Values(eventSchema(t).Property("code")["enum"].([]string)))); diff != "" {
		t.Errorf("codes (-table +schema of audit events):\n%s", diff)
	}
	for _, c := range corpus.Load(t, os.DirFS("../../e2e/testdata/corpus")) {
		for _, step := range c.Steps {
			code, ok := step.Answer.Body["code"].(string)
			if !ok {
				code, _ = step.Answer.Audit["code"].(string)
			}
			if table[code] == step.Answer.Status {
				delete(table, code)
			}
		}
	}
	for code, status := range table {
		t.Errorf("no case shows %d %s", status, code)
	}
}

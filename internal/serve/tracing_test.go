package serve

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/proto/otlp/trace/v1"

	"scopeward/internal/process"
	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/otlp"
	"scopeward/internal/testenv/tokentest"
)

// byName are the spans that have come.
func byName(r *otlp.Receiver) map[string]*v1.Span {
	spans := map[string]*v1.Span{}
	for _, span := range r.Spans() {
		spans[span.Name] = span
	}
	return spans
}

const (
	envoysTrace = "0af7651916cd43dd8448eb211c80319c"
	envoysSpan  = "b7ad6b7169203331"
)

// TestTrace: from Envoy's traceparent to the provider it is one tree, whatever the provider
// is asked for and whether it answers, and no token or secret is in it. (It sets the
// environment, so it is not parallel.)
func TestTrace(t *testing.T) {
	const secret = "canary-5ecret-t0ken"
	const profile = `{"active":true,"sub":"alice","id":"alice","aud":"` + tokentest.Audience + `"}`
	opaque := func(*tokentest.Provider) (raw, answer string) { return secret, profile }
	for name, c := range map[string]struct {
		mode, method, path string
		token              func(*tokentest.Provider) (raw, answer string)
		status             int
		want               []string
	}{
		"profile":       {corpus.OpaqueProfile, "GET", tokentest.ProfilePath, opaque, 200, []string{`"allow"`, `"miss"`}},
		"introspection": {"introspection", "POST", tokentest.IntrospectionPath, opaque, 200, []string{`"allow"`, `"miss"`}},
		"an unknown key": {"jwks", "GET", tokentest.KeysPath, func(idp *tokentest.Provider) (raw, answer string) {
			idp.Rotate()
			return idp.Mint(nil, nil), idp.JWKS()
		}, 200, []string{`"allow"`, `"miss"`}},
		"a fault": {corpus.OpaqueProfile, "GET", tokentest.ProfilePath, opaque, 500, []string{`"unavailable"`, `"500"`}},
	} {
		t.Run(name, func(t *testing.T) {
			receiver := otlp.NewReceiver(t)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=here")
			idp := tokentest.New(t)
			s, events := startService(t, corpus.Configure(t, t.TempDir(), c.mode, idp, nil, map[string]string{
				"policy.yaml": "version: 1\nrules:\n  - match: GET /users\n",
			}))
			raw, answer := c.token(idp)
			var mu sync.Mutex
			var carried string
			idp.Handle(c.path, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				carried = r.Header.Get("traceparent")
				mu.Unlock()
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, answer)
			})
			traces := startTracing(t.Context(), "", s.log)
			s.server.Trace(traces.tracer)
			client := connect(t, s.newFront(grpcOptions{}, newHealthService()))
			if _, err := client.Check(t.Context(), checkRequest(corpus.Request{Method: "GET", Target: "/users?key=" + secret, Host: "api.example.com", Headers: map[string]string{
				"authorization": "Bearer " + raw, "traceparent": "00-" + envoysTrace + "-" + envoysSpan + "-01", "tracestate": "vendor=1",
			}}, "")); err != nil {
				t.Fatal(err)
			}
			traces.end(10 * time.Second)
			s.audit.Close(10 * time.Second)

			spans, text := byName(receiver), receiver.Text()
			check, call := spans["envoy.service.auth.v3.Authorization/Check"], spans[c.method]
			if len(spans) != 2 || check == nil || call == nil {
				t.Fatalf("spans: %s", text)
			}
			for _, span := range []*v1.Span{check, call} {
				if got := hex.EncodeToString(span.TraceId); got != envoysTrace || span.TraceState != "vendor=1" {
					t.Errorf("%s is of trace %s, state %s", span.Name, got, span.TraceState)
				}
				if failed := span.Status.GetCode() == v1.Status_STATUS_CODE_ERROR; failed != (c.status != 200) {
					t.Errorf("%s has status %v", span.Name, span.Status)
				}
			}
			if got := hex.EncodeToString(check.ParentSpanId); got != envoysSpan {
				t.Errorf("the check's parent is %s", got)
			}
			if !bytes.Equal(call.ParentSpanId, check.SpanId) {
				t.Errorf("the provider's parent is %x, not the check %x", call.ParentSpanId, check.SpanId)
			}
			mu.Lock()
			if want := "00-" + envoysTrace + "-" + hex.EncodeToString(call.SpanId) + "-01"; carried != want {
				t.Errorf("the provider got traceparent %q, want %q", carried, want)
			}
			mu.Unlock()
			text = strings.Join(strings.Fields(text), " ")
			for _, want := range append(c.want, `"scopeward"`, `"here"`, `"/users"`, `"idp"`, `policy.yaml:3:5`, idp.URL+c.path) {
				if !strings.Contains(text, want) {
					t.Errorf("%s is missing in %s", want, text)
				}
			}
			for _, never := range []string{secret, raw, tokentest.ClientSecret, "alice"} {
				if strings.Contains(text, never) {
					t.Errorf("%s is in %s", never, text)
				}
			}
			var event struct{ TraceID string }
			if err := json.Unmarshal(events.Bytes(), &event); err != nil || event.TraceID != envoysTrace {
				t.Errorf("audit: %+v, %v", event, err)
			}
		})
	}
}

// TestSampler: what clients may have traced is for the standard variables to say.
func TestSampler(t *testing.T) {
	for sampler, want := range map[string]int{"always_on": 2, "always_off": 0, "parentbased_always_on": 1} {
		t.Run(sampler, func(t *testing.T) {
			receiver := otlp.NewReceiver(t)
			t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", receiver.URL+otlp.Path)
			t.Setenv("OTEL_TRACES_SAMPLER", sampler)
			t.Setenv("OTEL_SERVICE_NAME", "checks")
			s, _ := startService(t, corpus.Configure(t, t.TempDir(), "jwks", tokentest.New(t), nil, map[string]string{
				"policy.yaml": "version: 1\nrules:\n  - match: GET /users\n",
			}))
			traces := startTracing(t.Context(), "", s.log)
			s.server.Trace(traces.tracer)
			client := connect(t, s.newFront(grpcOptions{}, newHealthService()))
			for _, flags := range []string{"00", "01"} {
				if _, err := client.Check(t.Context(), checkRequest(corpus.Request{Method: "GET", Target: "/users", Host: "api.example.com", Headers: map[string]string{
					"traceparent": "00-" + envoysTrace + "-" + envoysSpan + "-" + flags,
				}}, "")); err != nil {
					t.Fatal(err)
				}
			}
			traces.end(10 * time.Second)
			if got := len(receiver.Spans()); got != want || got > 0 && !strings.Contains(receiver.Text(), `"checks"`) {
				t.Errorf("%d spans, want %d, of the service checks: %s", got, want, receiver.Text())
			}
		})
	}
}

// TestTracingWanted: without an endpoint, or where it is turned off, nothing is set
// up; what can't be used is said.
func TestTracingWanted(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for _, c := range []struct {
		environment map[string]string
		on          bool
		says        string
	}{
		{nil, false, ""},
		{map[string]string{endpoint: "http://c:4318"}, true, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/v1/traces"}, true, ""},
		{map[string]string{endpoint: "http://c:4318", "OTEL_SDK_DISABLED": "true"}, false, ""},
		{map[string]string{endpoint: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, false, ""},
		{map[string]string{endpoint: "http://c:4318", "OTEL_TRACES_EXPORTER": "zipkin"}, false, "OTEL_TRACES_EXPORTER"},
		{map[string]string{endpoint: "c:4317"}, false, endpoint + " must be a URL"},
		{map[string]string{endpoint: "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false, "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf"},
		{map[string]string{endpoint: "http://c:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, true, ""},
	} {
		t.Run("", func(t *testing.T) {
			for name, value := range c.environment {
				t.Setenv(name, value)
			}
			if on, problem := tracingWanted(); on != c.on || !strings.Contains(problem, c.says) || (problem == "") != (c.says == "") {
				t.Errorf("%v: %v, %q", c.environment, on, problem)
			}
		})
	}
}

// TestCollectorHangs: it holds up neither answers nor the end, and is said once.
func TestCollectorHangs(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", server.URL)
	log := &process.Output{}
	traces := startTracing(t.Context(), "", slog.New(slog.NewTextHandler(log, nil)))
	start := time.Now()
	for range 10_000 { // more than may wait
		_, span := traces.tracer.Start(t.Context(), "x")
		span.End()
	}
	traces.end(50 * time.Millisecond)
	if took := time.Since(start); took > 5*time.Second { // the exporter's own patience is 10 s
		t.Errorf("it took %v", took)
	}
	if n := strings.Count(log.String(), "spans may be lost"); n != 1 {
		t.Errorf("said %d times: %s", n, log)
	}
}

// TestTraceReporter: a collector that is down costs a line a minute, and none shows
// what it answers.
func TestTraceReporter(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	now := time.Unix(0, 0)
	r := &traceReporter{log: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return now }}
	for range 121 {
		r.Handle(errors.New("failed to send: 401 (body: bad key canary)"))
		now = now.Add(time.Second)
	}
	if got := log.String(); strings.Count(got, "\n") != 3 || strings.Contains(got, "canary") {
		t.Errorf("got %s", got)
	}
}

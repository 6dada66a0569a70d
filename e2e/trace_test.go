package e2e

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/proto/otlp/trace/v1"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/otlp"
	"scopeward/internal/testenv/tokentest"
)

// TestTraceFromEnvoy: Envoy, which traces, and Scopeward send their spans to one collector;
// those of a request are one tree, from Envoy to the provider, also where the client began
// the trace. The audit names it.
func TestTraceFromEnvoy(t *testing.T) {
	t.Parallel()
	receiver, idp := otlp.NewReceiver(t), tokentest.New(t)
	var mu sync.Mutex
	carried := map[string]string{} // traceparent by token
	idp.Handle(tokentest.ProfilePath, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		carried[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] = r.Header.Get("Traceparent")
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"id":"alice"}`)
	})
	s := serveIn(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + receiver.URL, "OTEL_BSP_SCHEDULE_DELAY=50"}, "--config",
		corpus.Configure(t, t.TempDir(), corpus.OpaqueProfile, idp, nil, map[string]string{"policy.yaml": "version: 1\nrules:\n  - match: GET /users\n"}))
	address := startEnvoy(t, newUpstream(t).Listener.Addr().String(), []target{{
		name: "public", authz: s.grpc, manager: tracesTo(receiver.URL), more: []any{map[string]any{
			"name": "collector", "type": "STATIC",
			"load_assignment": map[string]any{"cluster_name": "collector", "endpoints": endpoints(receiver.Listener.Addr().(*net.TCPAddr).Port)},
		}},
	}})["public"]

	const clients = "0af7651916cd43dd8448eb211c80319c"
	for tokenName, header := range map[string]string{"token-of-envoys-trace": "", "token-of-clients-trace": "traceparent: 00-" + clients + "-b7ad6b7169203331-01\r\n"} {
		t.Run(tokenName, func(t *testing.T) {
			idp.Opaque(tokenName, map[string]any{"id": "alice"})
			res, body := exchange(t, address, []byte("GET /users HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer "+tokenName+"\r\n"+header+"Connection: close\r\n\r\n"))
			if res.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s", res.Status, body)
			}
			mu.Lock()
			parts := strings.Split(carried[tokenName], "-")
			mu.Unlock()
			if len(parts) != 4 || header != "" && parts[1] != clients {
				t.Fatalf("the provider got traceparent %q", parts)
			}
			var path []string
			eventually(t, "the whole trace has come", func() bool {
				path = ancestry(receiver.Spans(), parts[1], parts[2])
				return slices.Contains(path, "ingress")
			})
			if got, want := strings.Join(path, " < "), "GET < envoy.service.auth.v3.Authorization/Check < async envoy.service.auth.v3.Authorization.Check egress < ingress"; got != want {
				t.Errorf("the provider's request is at %s, want %s", got, want)
			}
			eventually(t, "the audit names the trace", func() bool { return strings.Contains(s.stdout.String(), `"traceId":"`+parts[1]+`"`) })
		})
	}
}

// ancestry names a span of a trace and those above it, up to the first that has not come.
func ancestry(spans []*v1.Span, traceID, spanID string) []string {
	for _, span := range spans {
		if hex.EncodeToString(span.TraceId) == traceID && hex.EncodeToString(span.SpanId) == spanID {
			return append([]string{span.Name}, ancestry(spans, traceID, hex.EncodeToString(span.ParentSpanId))...)
		}
	}
	return nil
}

// tracesTo has Envoy send its spans by OTLP to a collector, which is the cluster collector.
func tracesTo(url string) func(map[string]any) {
	return func(manager map[string]any) {
		manager["tracing"] = map[string]any{"provider": map[string]any{
			"name": "envoy.tracers.opentelemetry",
			"typed_config": map[string]any{
				"@type":        "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
				"service_name": "envoy",
				"http_service": map[string]any{"http_uri": map[string]any{"uri": url + otlp.Path, "cluster": "collector", "timeout": "5s"}},
			},
		}}
	}
}

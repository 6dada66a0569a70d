package authz

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/metadata"

	"scopeward/authz/wire"
)

const (
	traceA  = "0af7651916cd43dd8448eb211c80319c"
	parentA = "00-" + traceA + "-b7ad6b7169203331-01"
	nearerA = "00-" + traceA + "-00f067aa0ba902b7-01"
	parentB = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
)

func TestParseTraceparent(t *testing.T) {
	for text, want := range map[string]string{
		parentA:                      traceA,
		"cc" + parentA[2:]:           traceA, // a later version
		"cc" + parentA[2:] + "-what": traceA,
		"":                           "",
		parentA + "-what":            "",
		"cc" + parentA[2:] + "what":  "",
		"ff" + parentA[2:]:           "",
		"0g" + parentA[2:]:           "",
		parentA[:54]:                 "",
		parentA[:53] + "0A":          "",
		parentA + "," + parentB:      "", // two of them
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01": "",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": "",
		"00-" + traceA + "-0000000000000000-01":                   "",
		"00_" + traceA + "-b7ad6b7169203331-01":                   "",
	} {
		if got := traceID(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestParent(t *testing.T) {
	for _, c := range []struct{ header, call, want string }{
		{"", "", ""},
		{parentA, "", parentA},
		{"", parentB, parentB},
		{"nonsense", parentB, parentB},
		{"nonsense", "nonsense", ""},
		{parentA, "nonsense", parentA},
		{parentA, nearerA, nearerA},
		{parentA, parentB, parentA},
	} {
		r := request{asked: wire.Request{Headers: []wire.Header{{Name: "traceparent", Value: c.header}}}}
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("traceparent", c.call))
		if got, id := r.parent(callTraceparent(ctx)); got != c.want || id != traceID(c.want) {
			t.Errorf("header %q, call %q: got %q, want %q", c.header, c.call, got, c.want)
		}
	}
}

// TestTraceIDWithoutTracing: the audit has Envoy's trace, by either list of headers,
// also where nothing is traced.
func TestTraceIDWithoutTracing(t *testing.T) {
	s, out, _ := testServer(t, nil, nil)
	headers, raw := get("/public", ""), get("/public", "")
	headers.Attributes.Request.Http.Headers["traceparent"] = parentA
	raw.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "Traceparent", RawValue: []byte(parentA)}}}
	check(t, s, headers)
	check(t, s, raw)
	left, leave := context.WithCancel(t.Context()) // what is not even looked at has it, too
	leave()
	if _, err := s.Check(left, raw); err != nil {
		t.Fatal(err)
	}
	s.audit.Close(time.Second)
	events := json.NewDecoder(out)
	for range 3 {
		var event struct{ TraceID string }
		if err := events.Decode(&event); err != nil || event.TraceID != traceA {
			t.Errorf("got %+v, %v", event, err)
		}
	}
}

package authz

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"scopeward/authz/token"
)

// benchServer has everything on: audit, metrics, cache; its audit goes nowhere.
func benchServer(b *testing.B) *Server {
	s, _, _ := testServer(b, func(string) (*token.Identity, error) {
		return &token.Identity{Provider: "test", Subject: "user-00000001", Scopes: []string{"openid", "profile", "read:users", "write:orders"}}, nil
	}, nil)
	s.audit = NewLineWriter(io.Discard, nil)
	b.Cleanup(func() { s.audit.Close(0) })
	return s
}

// browserRequest is what Envoy sends for a request of an ordinary client.
func browserRequest(token string) *authv3.CheckRequest {
	in := get("/users", "Bearer "+token)
	in.Attributes.Source = peer("203.0.113.9")
	for name, value := range map[string]string{
		":authority": "api.example.com", ":method": "GET", ":path": "/users", ":scheme": "http", "accept": "*/*", "accept-encoding": "gzip",
		"user-agent": "Mozilla/5.0 (X11; Linux x86_64)", "x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "http", "x-request-id": "3a1c9a6e-9f0f-4c4b-8f0a-1b2c3d4e5f60",
	} {
		in.Attributes.Request.Http.Headers[name] = value
	}
	return in
}

func BenchmarkCheck(b *testing.B) {
	s := benchServer(b)
	raw := fmt.Sprintf("%0700d", 7)
	b.ReportAllocs()
	for b.Loop() {
		in := browserRequest(raw)
		if r, err := s.Check(context.Background(), in); err != nil || r.GetOkResponse() == nil {
			b.Fatal(r, err)
		}
	}
}

func BenchmarkStages(b *testing.B) {
	s := benchServer(b)
	snapshot := s.Snapshot()
	raw := fmt.Sprintf("%0700d", 7)
	in := browserRequest(raw)
	wire, err := proto.Marshal(in)
	if err != nil {
		b.Fatal(err)
	}
	event := &Event{snapshot: snapshot}
	event.request, _ = newRequest(browserRequest(raw), Hops{})
	event.match, _ = snapshot.Policy.Match("", &event.request.Request)
	event.result, _ = snapshot.Validator.Validate(b.Context(), raw, nil)
	event.verdict = verdict{code: codeAllow}
	snapshot.respond(event)
	for _, stage := range []struct {
		name string
		run  func()
	}{
		{"unmarshal", func() { _ = proto.Unmarshal(wire, &authv3.CheckRequest{}) }},
		{"request", func() { _, _ = newRequest(in, Hops{}) }},
		{"match", func() { _, _ = snapshot.Policy.Match("", &event.request.Request) }},
		{"credential", func() { _, _, _ = token.FromAuthorization("Bearer "+raw, token.DefaultMaxLength) }},
		{"hash", func() { _ = sha256.Sum256([]byte(raw)) }},
		{"cache hit", func() { _, _ = snapshot.Validator.Validate(b.Context(), raw, nil) }},
		{"decide", func() { _ = event.judge(event.match, event.result.Identity) }},
		{"respond", func() { snapshot.respond(event) }},
		{"marshal", func() { _, _ = proto.Marshal(event.reply.Message()) }},
		{"record", func() { s.record(event) }},
	} {
		b.Run(stage.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				stage.run()
			}
		})
	}
}

// BenchmarkCodec is a whole check without gRPC: from the bytes of the request to
// those of the reply.
func BenchmarkCodec(b *testing.B) {
	s := benchServer(b)
	wire, err := proto.Marshal(browserRequest(fmt.Sprintf("%0700d", 7)))
	if err != nil {
		b.Fatal(err)
	}
	c := codec{}
	b.ReportAllocs()
	for b.Loop() {
		event := newEvent("")
		if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(wire)}, event); err != nil {
			b.Fatal(err)
		}
		s.answer(context.Background(), event)
		reply, err := c.Marshal(event)
		if err != nil {
			b.Fatal(err)
		}
		reply.Free()
	}
}

package wire

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// plainRequest is what Envoy sends for a request of a browser.
func plainRequest() *authv3.CheckRequest {
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: "203.0.113.9"},
		}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Host: "api.example.com", Path: "/users",
			Headers: map[string]string{":path": "/users", "accept": "*/*", "authorization": "Bearer abc", "x-forwarded-for": "203.0.113.9"},
		}},
	}}
}

// fullRequest has every field that Envoy may send.
func fullRequest() *authv3.CheckRequest {
	in := plainRequest()
	a := in.Attributes
	a.Source.Service, a.Source.Principal, a.Source.Certificate = "service", "spiffe://a/b", "pem"
	a.Source.Labels = map[string]string{"a": "b"}
	a.Destination = &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: "/x", Mode: 7}}}}
	a.Request.Time = timestamppb.Now()
	http := a.Request.Http
	http.Id, http.Scheme, http.Query, http.Fragment, http.Size, http.Protocol, http.Body, http.RawBody = "7", "http", "q", "f", -1, "HTTP/1.1", "body", []byte{0xff}
	a.ContextExtensions = map[string]string{"policy": "admin", "other": "x"}
	metadata := &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"f": {Fields: map[string]*structpb.Value{"k": structpb.NewStringValue("v")}}}}
	a.MetadataContext, a.RouteMetadataContext = metadata, metadata
	a.TlsSession = &authv3.AttributeContext_TLSSession{Sni: "api.example.com"}
	return in
}

// sorted makes two readings comparable: a map has no order.
func sorted(r Request) Request {
	last := map[string]string{}
	for _, h := range r.Headers {
		last[h.Name] = h.Value
	}
	r.Headers = nil
	for name, value := range last {
		r.Headers = append(r.Headers, Header{name, value})
	}
	slices.SortFunc(r.Headers, func(x, y Header) int { return strings.Compare(x.Name, y.Name) })
	return r
}

// sameReading holds the codec against the generated code.
func sameReading(t testing.TB, wire []byte) {
	t.Helper()
	var direct, viaMessage Request
	directErr := direct.Unmarshal(string(wire))
	in := &authv3.CheckRequest{}
	generatedErr := proto.Unmarshal(wire, in)
	if (directErr == nil) != (generatedErr == nil) {
		t.Fatalf("the codec says %v, the generated code %v", directErr, generatedErr)
	}
	if directErr != nil {
		return
	}
	viaMessage.Read(in)
	want, got := sorted(viaMessage), sorted(direct)
	if !reflect.DeepEqual(want, got) { // a fuzzer has no time for cmp.Diff
		t.Fatalf("read otherwise (-generated +codec):\n%s", cmp.Diff(want, got))
	}
}

func TestUnmarshal(t *testing.T) {
	raw := plainRequest()
	raw.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
		{Key: "Authorization", RawValue: []byte("Bearer a\xff")}, {Key: "authorization", Value: "Bearer b"},
	}}
	internal := plainRequest()
	internal.Attributes.Source = &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_EnvoyInternalAddress{EnvoyInternalAddress: &corev3.EnvoyInternalAddress{EndpointId: "x"}}}}
	for name, in := range map[string]*authv3.CheckRequest{
		"empty": {}, "no HTTP": {Attributes: &authv3.AttributeContext{}}, "full": fullRequest(), "plain": plainRequest(), "raw headers": raw, "internal": internal,
	} {
		t.Run(name, func(t *testing.T) {
			wire, err := proto.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			sameReading(t, wire)
			sameReading(t, append(wire, wire...)) // messages that come twice are merged
			for i := range wire {
				sameReading(t, wire[:i])
			}
		})
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, in := range []*authv3.CheckRequest{{}, fullRequest(), plainRequest()} {
		wire, err := proto.Marshal(in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
		f.Add(append(wire, wire...))
	}
	f.Fuzz(func(t *testing.T, wire []byte) { sameReading(t, wire) })
}

// TestAppend: what Append writes is what Message builds.
func TestAppend(t *testing.T) {
	alice := Metadata{Code: "allow", Rule: "GET /users", Identified: true, Provider: "idp", Subject: "alice", Scopes: []string{"read:users", "a"}}
	for name, r := range map[string]Response{
		"zero":        {},
		"allow":       {Allowed: true, Set: []Header{{"x-auth-subject", "alice"}, {"x-auth-scopes", strings.Repeat("scope ", 3000)}}, Remove: []string{"x-auth-email", "x_auth_email"}, Metadata: alice},
		"answer":      {Allowed: true, Set: []Header{{":path", "/a?b"}}, Answer: []Header{{"sec-websocket-protocol", "bearer"}}, Metadata: alice},
		"public":      {Allowed: true, Remove: []string{"x-auth-subject"}, Metadata: Metadata{Code: "allow", Rule: "/"}},
		"no scopes":   {Allowed: true, Metadata: Metadata{Code: "allow", Identified: true}},
		"denied":      {GRPC: codes.Unauthenticated, Status: 401, Body: `{"error":"Invalid token"}`, Set: []Header{{"content-type", "application/json"}}, Metadata: Metadata{Code: "invalid_token"}},
		"OK denied":   {Status: 200, Metadata: Metadata{Code: "?"}},
		"long denied": {GRPC: codes.Unavailable, Status: 503, Body: strings.Repeat("x", 1<<17), Metadata: Metadata{Code: "unavailable"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := &authv3.CheckResponse{}
			if err := proto.Unmarshal(r.Append(nil), got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(r.Message(), got, protocmp.Transform()); diff != "" {
				t.Errorf("(-message +codec):\n%s", diff)
			}
		})
	}
}

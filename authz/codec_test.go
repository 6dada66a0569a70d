package authz

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"scopeward/authz/token"
	"scopeward/internal/testenv/tokentest"
)

// fullRequest has every field that Envoy may send.
func fullRequest() *authv3.CheckRequest {
	in := browserRequest("abc")
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
func sorted(a attributes) attributes {
	last := map[string]string{}
	for _, h := range a.headers {
		last[h.name] = h.value
	}
	a.headers = nil
	for name, value := range last {
		a.headers = append(a.headers, header{name, value})
	}
	slices.SortFunc(a.headers, func(x, y header) int { return strings.Compare(x.name, y.name) })
	return a
}

// sameReading holds the codec against the generated code.
func sameReading(t testing.TB, wire []byte) {
	t.Helper()
	var direct, viaMessage attributes
	directErr := direct.unmarshal(string(wire))
	in := &authv3.CheckRequest{}
	generatedErr := proto.Unmarshal(wire, in)
	if (directErr == nil) != (generatedErr == nil) {
		t.Fatalf("the codec says %v, the generated code %v", directErr, generatedErr)
	}
	if directErr != nil {
		return
	}
	viaMessage.readMessage(in)
	want, got := sorted(viaMessage), sorted(direct)
	if !reflect.DeepEqual(want, got) { // a fuzzer has no time for cmp.Diff
		t.Fatalf("read otherwise (-generated +codec):\n%s", cmp.Diff(want, got, cmp.AllowUnexported(attributes{}, header{})))
	}
}

func TestCodecReadsRequests(t *testing.T) {
	raw := get("/users", "")
	raw.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
		{Key: "Authorization", RawValue: []byte("Bearer a\xff")}, {Key: "authorization", Value: "Bearer b"},
	}}
	internal := get("/", "")
	internal.Attributes.Source = &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_EnvoyInternalAddress{EnvoyInternalAddress: &corev3.EnvoyInternalAddress{EndpointId: "x"}}}}
	for name, in := range map[string]*authv3.CheckRequest{
		"empty": {}, "no HTTP": {Attributes: &authv3.AttributeContext{}}, "full": fullRequest(), "plain": browserRequest("abc"), "raw headers": raw, "internal": internal,
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

func FuzzCodec(f *testing.F) {
	for _, in := range []*authv3.CheckRequest{{}, fullRequest(), browserRequest("abc")} {
		wire, err := proto.Marshal(in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
		f.Add(append(wire, wire...))
	}
	f.Fuzz(func(t *testing.T, wire []byte) { sameReading(t, wire) })
}

// TestCodecWritesReplies: what the codec writes is what message builds.
func TestCodecWritesReplies(t *testing.T) {
	who := &token.Identity{Provider: "idp", Subject: "alice", Scopes: []string{"read:users", "a"}}
	for name, r := range map[string]reply{
		"zero":        {},
		"allow":       {allowed: true, set: []header{{"x-auth-subject", "alice"}, {"x-auth-scopes", strings.Repeat("scope ", 3000)}}, remove: []string{"x-auth-email", "x_auth_email"}, code: "allow", rule: "GET /users", who: who},
		"public":      {allowed: true, code: "allow", rule: "/", remove: []string{"x-auth-subject"}},
		"no scopes":   {allowed: true, code: "allow", who: &token.Identity{}},
		"denied":      {answer: codeInvalidToken.answer(), body: `{"error":"Invalid token"}`, set: []header{{"content-type", "application/json"}}, code: "invalid_token"},
		"OK denied":   {answer: answer{status: 200}, code: "?"},
		"long denied": {answer: codeUnavailable.answer(), body: strings.Repeat("x", 1<<17), code: "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			got := &authv3.CheckResponse{}
			if err := proto.Unmarshal(r.append(nil), got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(r.message(), got, protocmp.Transform()); diff != "" {
				t.Errorf("(-message +codec):\n%s", diff)
			}
		})
	}
}

// TestAllocations guards the hot path, from the bytes of the request to those of the
// reply. Three are the text of the request, the list of buffers and a header of gRPC's;
// the others are said where they are allowed.
func TestAllocations(t *testing.T) {
	rules := token.Rules{Provider: "test", Issuer: "https://issuer.example", Audiences: []string{"api"}}
	s, _, _ := testServer(t, func(raw string) (*token.Identity, error) {
		if strings.HasPrefix(raw, "bad") {
			return nil, token.Invalidf("bad")
		}
		return rules.Identity(tokentest.Decoded(map[string]any{
			"iss": "https://issuer.example", "aud": "api", "sub": "alice", "exp": float64(time.Now().Add(time.Hour).Unix()),
			"scope": "openid read:users", "org": "org_1", "permissions": []any{"a", "b"},
		}))
	}, func(s *Snapshot) { s.Sampling = Sample(0.5) })
	for _, c := range []struct {
		name, path, authorization, code string
		allowed                         float64
	}{
		{"allowed, with headers of claims", "/users", "Bearer " + strings.Repeat("a", 700), "allow", 3},
		{"public", "/public", "", "allow", 3},
		{"no token", "/users", "", "missing_token", 5}, // the error
		{"a bad token, known", "/users", "Bearer bad" + strings.Repeat("a", 700), "invalid_token", 3},
		{"scope missing", "/admin", "Bearer " + strings.Repeat("a", 700), "insufficient_scope", 10}, // its challenge
	} {
		in := browserRequest("")
		in.Attributes.Request.Http.Path = c.path
		in.Attributes.Request.Http.Headers["authorization"] = c.authorization
		in.Attributes.Request.Http.Headers["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		wire, err := proto.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		codec, data := codec{}, mem.BufferSlice{mem.SliceBuffer(wire)}
		check := func() {
			event := newEvent()
			if err := codec.Unmarshal(data, event); err != nil {
				t.Fatal(err)
			}
			s.answer(t.Context(), event)
			if event.reply.code != c.code {
				t.Fatalf("%s: got %s", c.name, event.reply.code)
			}
			reply, err := codec.Marshal(event)
			if err != nil {
				t.Fatal(err)
			}
			reply.Free()
		}
		check()
		if got := allocations(check); got > c.allowed {
			t.Errorf("%s: %v allocations, want at most %v", c.name, got, c.allowed)
		}
	}
}

// allocations is how many a run of f needs. Under the race detector sync.Pool loses a quarter of
// what it is given, so that a mean would say nothing; but three runs in ten, about, lose nothing:
// of 400 between 80 and 150, so that a tenth is far from chance.
func allocations(f func()) float64 {
	runs := make([]float64, 400)
	for i := range runs {
		runs[i] = testing.AllocsPerRun(1, f)
	}
	slices.Sort(runs)
	return runs[len(runs)/10]
}

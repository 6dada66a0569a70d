package authz

import (
	"maps"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"

	"scopeward/authz/credential"
)

func peer(address string) *authv3.AttributeContext_Peer {
	return &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
		SocketAddress: &corev3.SocketAddress{Address: address},
	}}}
}

// newRequest makes a request of a CheckRequest.
func newRequest(in *authv3.CheckRequest, hops Hops) (request, error) {
	var r request
	r.asked.Read(in)
	r.asked.JoinRaw()
	err := r.canonicalize(hops, &credential.Places{})
	return r, err
}

func TestNewRequest(t *testing.T) {
	in := func(http *authv3.AttributeContext_HttpRequest) *authv3.CheckRequest {
		return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Source:            peer("198.51.100.1"),
			Request:           &authv3.AttributeContext_Request{Http: http},
			ContextExtensions: map[string]string{"policy": "admin"},
		}}
	}
	headers := map[string]string{"authorization": "Bearer a,Bearer b", "x-request-id": "id-1", "cookie": "c"}
	raw := &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
		{Key: "authorization", RawValue: []byte("Bearer a")},
		{Key: "Authorization", RawValue: []byte("Bearer b")},
		{Key: "x-request-id", Value: "id-1"},
		{Key: "cookie", Value: "c"},
	}}
	for name, http := range map[string]*authv3.AttributeContext_HttpRequest{
		"headers as a map":   {Method: "GET", Host: "API.example.com:443", Path: "/users?q=1", Headers: maps.Clone(headers)},
		"headers one by one": {Method: "GET", Host: "API.example.com:443", Path: "/users?q=1", HeaderMap: raw},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := newRequest(in(http), Hops{})
			if err != nil {
				t.Fatal(err)
			}
			got := []string{r.Method, r.Host, r.Path.String(), r.Query, r.ClientIP, r.asked.Policy, r.asked.Header("authorization"), r.asked.ID}
			want := []string{"GET", "api.example.com", "/users", "q=1", "198.51.100.1", "admin", "Bearer a,Bearer b", "id-1"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			// Conditions see all headers but the token.
			if diff := cmp.Diff(map[string]string{"x-request-id": "id-1", "cookie": "c"}, new(credential.Places).Hidden(&r.asked)); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewRequestRefuses(t *testing.T) {
	for name, in := range map[string]*authv3.CheckRequest{
		"nothing":       nil,
		"no attributes": {},
		"no HTTP":       {Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{}}},
		"no path": {Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
			Http: &authv3.AttributeContext_HttpRequest{Method: "GET"},
		}}},
		"no method": {Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
			Http: &authv3.AttributeContext_HttpRequest{Path: "/"},
		}}},
	} {
		if _, err := newRequest(in, Hops{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

package authz

import (
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"scopeward/authz/token"
	"scopeward/policy"
)

// TestBody: a condition sees the body that the service behind would read, in either field of
// the message, by both readers of it; whatever could be read otherwise denies.
func TestBody(t *testing.T) {
	set, err := policy.Parse(policy.File{Name: "p.yaml", Data: []byte("version: 1\nrules:\n" +
		`  - {match: /mcp, when: 'request.json.method == "tools/list" || request.json.method == "tools/call" && request.json.params.name in ["search"]'}` + "\n" +
		`  - {match: /negated, when: 'request.json.method != "tools/call"'}` + "\n" +
		`  - {match: /id, when: request.json.id == 9007199254740993}` + "\n" +
		`  - {match: /peer, when: 'request.peer.principal == "spiffe://a/b" && request.peer.address == "192.0.2.7"'}` + "\n")})
	if err != nil {
		t.Fatal(err)
	}
	s, _, _ := testServer(t, func(string) (*token.Identity, error) {
		return &token.Identity{Subject: "alice", Issuer: "https://issuer.example"}, nil
	},
		func(s *Snapshot) { s.Policy = set })
	type headers map[string]string
	const call = `{"method":"tools/call","params":{"name":"search"}}`
	for _, c := range []struct {
		path, body string
		headers    headers
		allowed    bool
	}{
		{"/mcp", call, nil, true},
		{"/mcp", ` {"method" : "tools\/list"} `, nil, true},
		{"/mcp", call, headers{"content-type": "application/vnd.x+json; charset=UTF-8", "content-encoding": "identity", "x-envoy-auth-partial-body": "false"}, true},
		{"/negated", `{"method":"tools/list"}`, nil, true},
		{"/id", `{"id":9007199254740993}`, nil, true},
		{"/mcp", "", nil, false},
		{"/mcp", `{"method":"tools/call","params":{"name":"delete"}}`, nil, false},
		{"/mcp", `{"method":"tools/call"}`, nil, false},
		{"/mcp", `{"method":["tools/list"]}`, nil, false},
		{"/mcp", "[" + call + "]", nil, false},
		{"/mcp", call + call, nil, false},
		{"/mcp", call[:len(call)-1], nil, false},
		{"/mcp", call, headers{"x-envoy-auth-partial-body": "true"}, false},
		{"/mcp", call, headers{"x-envoy-auth-partial-body": "false,false"}, false},
		{"/mcp", call, headers{"content-encoding": "gzip"}, false},
		{"/mcp", call, headers{"content-type": ""}, false},
		{"/mcp", call, headers{"content-type": "text/plain"}, false},
		{"/mcp", call, headers{"content-type": "application/x-www-form-urlencoded"}, false},
		{"/mcp", call, headers{"content-type": "application/json,text/plain"}, false},
		{"/mcp", call, headers{"content-type": "application/json; charset=utf-16"}, false},
		{"/negated", `{"method":"tools/list","method":"tools/call"}`, nil, false},
		{"/negated", `{"method":"tools/list","Method":"tools/call"}`, nil, false},
		{"/negated", `{"Method":"tools/call"}`, nil, false},
		{"/negated", "{\"method\":\"x\xff\"}", nil, false},
		{"/negated", `{"method":1e400}`, nil, false},
		{"/negated", `{"method":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, nil, false},
		{"/negated", `{"method":"` + strings.Repeat("x", 1<<20) + `"}`, nil, false},
		{"/negated", "null", nil, false},
		{"/id", `{"id":9007199254740992}`, nil, false},
		{"/id", `{"id":9007199254740993.0}`, nil, false},
	} {
		for _, packed := range []bool{false, true} {
			if !packed && strings.Contains(c.body, "\xff") {
				continue // protobuf has no such text
			}
			in := get(c.path, "Bearer t")
			http := in.Attributes.Request.Http
			http.Headers["content-type"] = "application/json"
			for name, value := range c.headers {
				http.Headers[name] = value
			}
			if http.Body = c.body; packed {
				http.Body, http.RawBody = "", []byte(c.body)
			}
			both(t, s, in, c.allowed)
			if http.Body, http.RawBody = c.body, []byte(c.body); c.body != "" && !strings.Contains(c.body, "\xff") {
				both(t, s, in, false)
			}
		}
	}
	for _, c := range []struct {
		principal string
		allowed   bool
	}{{"spiffe://a/b", true}, {"spiffe://a/bc", false}, {"", false}} {
		in := get("/peer", "Bearer t")
		in.Attributes.Source = browserRequest("").Attributes.Source
		in.Attributes.Source.Address.GetSocketAddress().Address = "192.0.2.7"
		in.Attributes.Source.Principal = c.principal
		both(t, s, in, c.allowed)
	}
}

// both asks by the generated code and by the codec.
func both(t *testing.T, s *Server, in *authv3.CheckRequest, allowed bool) {
	t.Helper()
	if got := check(t, s, in).GetOkResponse() != nil; got != allowed {
		t.Errorf("%v: allowed: %t", in, got)
	}
	data, err := proto.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	event := newEvent("")
	defer event.release()
	if err := (codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, event); err != nil {
		t.Fatal(err)
	}
	if s.answer(t.Context(), event); event.reply.Allowed != allowed {
		t.Errorf("%v: allowed: %t, by the codec", in, event.reply.Allowed)
	}
}

package authz

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"scopeward/authz/token"
	"scopeward/internal/testenv/tokentest"
)

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
			event := newEvent("")
			if err := codec.Unmarshal(data, event); err != nil {
				t.Fatal(err)
			}
			s.answer(t.Context(), event)
			if event.reply.Metadata.Code != c.code {
				t.Fatalf("%s: got %s", c.name, event.reply.Metadata.Code)
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

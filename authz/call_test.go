package authz

import (
	"context"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"scopeward/authz/ratelimit"
	"scopeward/authz/token"
)

// TestBegin: what needs no waiting is answered at once, by the same answer as Check's;
// what may wait is not begun before Wait, and counted once.
func TestBegin(t *testing.T) {
	verifications := 0
	verify := func(string) (*token.Identity, error) {
		verifications++
		return &token.Identity{Subject: "alice", Scopes: []string{"read:users"}}, nil
	}
	allow := ratelimit.Result{OK: true}
	for name, test := range map[string]struct {
		path, authorization string
		limit               Limit
		atOnce, second      bool // whether it is answered at once, first and when its token is known
	}{
		"public":                       {"/public", "", Limit{}, true, true},
		"no rule":                      {"/nowhere", "", Limit{}, true, true},
		"no token":                     {"/users", "", Limit{}, true, true},
		"malformed token":              {"/users", "Bearer a b", Limit{}, true, true},
		"invalid path":                 {"/%zz", "", Limit{}, true, true},
		"token":                        {"/users", "Bearer opaque", Limit{}, false, true},
		"token, limit in memory":       {"/users", "Bearer opaque", Limit{Limiter: limiterFunc(func() ratelimit.Result { return allow }), EveryRequest: true}, false, true},
		"token, limit elsewhere":       {"/users", "Bearer opaque", Limit{Limiter: limiterFunc(func() ratelimit.Result { return allow }), EveryRequest: true, Waits: true}, false, false},
		"limit of validations alone":   {"/users", "Bearer opaque", Limit{Limiter: limiterFunc(func() ratelimit.Result { return allow }), Waits: true}, false, true},
		"refused by a limit in memory": {"/users", "Bearer opaque", Limit{Limiter: limiterFunc(func() ratelimit.Result { return ratelimit.Result{} }), EveryRequest: true}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			verifications = 0
			counted := 0
			limit := test.limit
			if inner := limit.Limiter; inner != nil {
				limit.Limiter = limiterFunc(func() ratelimit.Result { counted++; return inner.Allow(t.Context(), "") })
			}
			s, _, _ := testServer(t, verify, func(s *Snapshot) { s.Limit = limit })
			in := get(test.path, test.authorization)
			in.Attributes.Source = peer("192.0.2.1")
			message, err := proto.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range []bool{test.atOnce, test.second} {
				counted = 0
				call, answered, err := s.Begin(t.Context(), message, "")
				if err != nil || answered != want {
					t.Fatalf("call %d: answered at once: %v, want %v; %v", i, answered, want, err)
				}
				if !answered {
					if i == 0 && verifications != 0 {
						t.Error("verified before it may wait")
					}
					call.Wait(t.Context())
				}
				if limit.EveryRequest && counted != 1 {
					t.Errorf("call %d: counted %d times", i, counted)
				}
				got := &authv3.CheckResponse{}
				if err := proto.Unmarshal(call.Append(nil), got); err != nil {
					t.Fatal(err)
				}
				if want := check(t, s, in); !proto.Equal(want, got) {
					t.Errorf("call %d: got %v, Check gives %v", i, got, want)
				}
			}
			if n := s.InFlight(); n != 0 {
				t.Errorf("%d calls are in flight", n)
			}
		})
	}
	s, _, _ := testServer(t, verify, nil)
	if _, _, err := s.Begin(context.Background(), []byte{0xff}, ""); err == nil {
		t.Error("no error for what is no CheckRequest")
	}
}

type limiterFunc func() ratelimit.Result

func (f limiterFunc) Allow(context.Context, string) ratelimit.Result { return f() }
func (f limiterFunc) Peek(string) ratelimit.Result                   { return f() }
func (f limiterFunc) Valid(string, bool)                             {}

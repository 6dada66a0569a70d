package replay

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"scopeward/policy"
)

const before = `
version: 1
rules:
  - {match: GET /users, scopes: [read:users]}
  - {match: "GET /users/{id}", scopes: [read:users], when: path.id == identity.subject}
  - {match: GET /claims, when: identity.claims.plan == "pro"}
  - {match: GET /same, when: identity.claims.plan == "pro"}
  - {match: "GET /search", when: '"q" in request.query'}
  - {match: /health, public: true}
  - {match: /admin, deny: true}
  - {match: "GET /files/{name}", scopes: [read:files]}
  - {match: GET /any, any_scopes: [a, b]}
`

const after = `
version: 1
rules:
  - {match: GET /users, any_scopes: [read:users, admin]}
  - {match: "GET /users/{id}", scopes: [read:users]}
  - {match: GET /claims, when: identity.claims.plan == "basic"}
  - {match: GET /same, when: identity.claims.plan == "pro"}
  - {match: "GET /search", when: '"query" in request.query'}
  - {match: /health, scopes: [health]}
  - {match: /admin, scopes: [admin]}
  - {match: "GET /files/{name}", public: true}
  - {match: GET /any, any_scopes: [a]}
  - {match: POST /new, public: true}
`

func parse(t *testing.T, text string) *policy.Set {
	t.Helper()
	set, err := policy.Parse(policy.File{Name: "policy.yaml", Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func replayed(t *testing.T, log string) *Report {
	t.Helper()
	r, err := Run(t.Context(), strings.NewReader(log), parse(t, before), parse(t, after), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// audit makes an event as package authz writes it.
func audit(code, method, path, provider, user string, scopes ...string) string {
	quoted := make([]string, len(scopes))
	for i, s := range scopes {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf(`{"timestamp":"2026-01-02T03:04:05Z","action":"x","success":%t,"userId":%q,"scopes":[%s],"code":%q,"rule":"p.yaml:1:1",`+
		`"method":%q,"host":"api.example.com","path":%q,"clientIp":"192.0.2.1","requestId":"r","provider":%q,"cache":"hit","durationMs":0.1}`,
		code == "allow", user, strings.Join(quoted, ","), code, method, path, provider)
}

func TestRun(t *testing.T) {
	tests := map[string]struct {
		line     string
		change   Change
		old, new string // outcomes
	}{
		"a scope more is enough":              {audit("insufficient_scope", "GET", "/users", "kinde", "u", "admin"), Opens, "insufficient_scope", "allow"},
		"the same scope is enough":            {audit("allow", "GET", "/users", "kinde", "u", "read:users"), Same, "", ""},
		"HEAD is by the rule for GET":         {audit("insufficient_scope", "HEAD", "/users", "kinde", "u", "admin"), Opens, "insufficient_scope", "allow"},
		"a condition goes":                    {audit("access_denied", "GET", "/users/v", "kinde", "u", "read:users"), Opens, "access_denied", "allow"},
		"a condition that held goes":          {audit("allow", "GET", "/users/u", "kinde", "u", "read:users"), Same, "", ""},
		"no token, still":                     {audit("missing_token", "GET", "/users", "", ""), Same, "", ""},
		"no token, where it is public now":    {audit("missing_token", "GET", "/files/x", "", ""), Opens, "missing_token", "allow"},
		"a bad token, where it is public":     {audit("invalid_token", "GET", "/files/x", "", ""), Opens, "invalid_token", "allow"},
		"a path that was decoded":             {audit("missing_token", "GET", "/files/a b%c?d#é", "", ""), Opens, "missing_token", "allow"},
		"claims are not known":                {audit("access_denied", "GET", "/claims", "kinde", "u"), MayOpen, "condition", "condition"},
		"claims, the same condition":          {audit("access_denied", "GET", "/same", "kinde", "u"), Same, "", ""},
		"the audit log has no query":          {audit("access_denied", "GET", "/search", "kinde", "u"), MayOpen, "condition", "condition"},
		"public closes for the unknown":       {audit("allow", "GET", "/health", "", ""), MayClose, "public", "token with scopes health"},
		"deny asks for a token now":           {audit("access_denied", "GET", "/admin", "", ""), MayOpen, "denied", "token with scopes admin"},
		"a scope that closes":                 {audit("allow", "GET", "/any", "kinde", "u", "b"), Closes, "allow", "insufficient_scope"},
		"no rule before, public now":          {audit("access_denied", "POST", "/new", "", ""), Opens, "denied", "public"},
		"a fault knows nobody":                {audit("unavailable", "GET", "/users", "", ""), MayOpen, "token with scopes read:users", "token with any of the scopes read:users admin"},
		"a refused path stays refused":        {audit("invalid_path", "GET", "/files/..", "", ""), Same, "", ""},
		"a refused escape stays refused":      {audit("invalid_path", "GET", "/files/%zz", "", ""), Same, "", ""},
		"envoy JSON, unknown caller":          {`{"method":"GET","path":"/any?x=1","authority":"api.example.com","response_code":200}`, MayClose, "token with any of the scopes a b", "token with any of the scopes a"},
		"envoy JSON, pseudo headers":          {`{":method":"GET",":path":"/files/1",":authority":"a.example"}`, MayOpen, "token with scopes read:files", "public"},
		"envoy JSON, original path":           {`{"method":"GET","path":"/rewritten","x-envoy-original-path":"/files/1"}`, MayOpen, "token with scopes read:files", "public"},
		"envoy JSON, no original path":        {`{"method":"GET","path":"/files/1","x-envoy-original-path":"-"}`, MayOpen, "token with scopes read:files", "public"},
		"envoy JSON, metadata":                {`{"method":"GET","path":"/users","ext_authz":{"code":"insufficient_scope","rule":"x","subject":"u","scopes":["admin"],"provider":"kinde"}}`, Opens, "insufficient_scope", "allow"},
		"envoy JSON, metadata by filter":      {`{"method":"GET","path":"/users","dynamic_metadata":{"envoy.filters.http.ext_authz":{"subject":"u","scopes":["admin"]}}}`, Opens, "insufficient_scope", "allow"},
		"envoy JSON, metadata field by field": {`{"method":"GET","path":"/users","subject":"u","scopes":"[\"admin\"]"}`, Opens, "insufficient_scope", "allow"},
		"envoy JSON, scopes with spaces":      {`{"method":"GET","path":"/users","subject":"u","scopes":"x admin"}`, Opens, "insufficient_scope", "allow"},
		"envoy JSON, denied without token":    {`{"method":"GET","path":"/files/1","ext_authz":{"code":"missing_token"}}`, Opens, "missing_token", "allow"},
		"envoy JSON has the query":            {`{"method":"GET","path":"/search?q=1","subject":"u","scopes":[]}`, Closes, "allow", "access_denied"},
		"envoy JSON, a path without query":    {`{"method":"GET","uri_path":"/search","subject":"u","scopes":[]}`, MayOpen, "condition", "condition"},
		"envoy JSON, uri_path with query":     {`{"method":"GET","uri_path":"/search?q=1","subject":"u","scopes":[]}`, Closes, "allow", "access_denied"},
		"envoy JSON, numbers elsewhere":       {`{"method":"GET","path":"/same","code":200,"host":null}`, Same, "", ""},
		"envoy text":                          {`[2026-01-02T03:04:05.678Z] "GET /files/1?token=x HTTP/1.1" 200 - 0 5 7 6 "192.0.2.1" "curl/8" "id" "api.example.com" "10.0.0.1:80"`, MayOpen, "token with scopes read:files", "public"},
		"envoy text, quotes of a client":      {`[2026-01-02T03:04:05.678Z] "GET /files/1 HTTP/2" 200 - 0 5 7 6 "-" "a" "GET /x HTTP/1.1" "id" "api.example.com" "-"`, MayOpen, "token with scopes read:files", "public"},
		"istio text":                          {`[2026-01-02T03:04:05.678Z] "POST /new HTTP/2" 403 UAEX ext_authz_denied - "-" 0 5 7 6 "-" "curl" "id" "api.example.com" "10.0.0.1:80" outbound|80||x - 10.0.0.2:80 10.0.0.3:1 - default`, Opens, "denied", "public"},
		"envoy gateway":                       {`{":authority":"www.example.com","bytes_received":0,"bytes_sent":466,"connection_termination_details":null,"downstream_local_address":"10.244.0.14:10080","downstream_remote_address":"10.244.0.12:34805","duration":1,"method":"GET","protocol":"HTTP/1.1","requested_server_name":null,"response_code":200,"response_code_details":"via_upstream","response_flags":"-","route_name":"httproute/default/backend/rule/0/match/0/*","start_time":"2026-04-09T11:44:45.639Z","upstream_cluster":"httproute/default/backend/rule/0","upstream_host":"10.244.0.13:3000","upstream_local_address":"10.244.0.14:58822","upstream_transport_failure_reason":null,"user-agent":"curl/8","x-envoy-origin-path":"/files/1?x=1","x-envoy-upstream-service-time":null,"x-forwarded-for":"10.244.0.12","x-request-id":"ab1e4da7"}`, MayOpen, "token with scopes read:files", "public"},
		"istio JSON":                          {`{"authority":"api.example.com","bytes_received":0,"bytes_sent":5,"connection_termination_details":null,"downstream_local_address":"10.0.0.2:80","downstream_remote_address":"10.0.0.3:1","duration":7,"method":"GET","path":"/files/1","protocol":"HTTP/1.1","request_id":"id","requested_server_name":null,"response_code":200,"response_code_details":"via_upstream","response_flags":"-","route_name":"default","start_time":"2026-01-02T03:04:05.678Z","upstream_cluster":"outbound|80||x","upstream_host":"10.0.0.1:80","upstream_local_address":"10.0.0.4:2","upstream_service_time":"6","upstream_transport_failure_reason":null,"user_agent":"curl/8","x_forwarded_for":null}`, MayOpen, "token with scopes read:files", "public"},
		"istio text, in full":                 {`[2026-01-02T03:04:05.678Z] "GET /files/1 HTTP/1.1" 200 - via_upstream - "-" 0 5 7 6 "-" "curl/8" "id" "api.example.com" "10.0.0.1:80" outbound|80||x.default.svc.cluster.local 10.0.0.4:2 10.0.0.2:80 10.0.0.3:1 - default`, MayOpen, "token with scopes read:files", "public"},
		"wrapped by docker compose":           {`envoy-1  | [2026-01-02T03:04:05.678Z] "GET /files/1 HTTP/1.1" 200 - 0 5 7 6 "-" "curl/8" "id" "api.example.com" "10.0.0.1:80"`, MayOpen, "token with scopes read:files", "public"},
		"wrapped by kubectl":                  {`[pod/scopeward-0/scopeward] 2026-01-02T03:04:05.678123Z ` + audit("insufficient_scope", "GET", "/users", "kinde", "u", "admin"), Opens, "insufficient_scope", "allow"},
		"wrapped by CRI":                      {`2026-01-02T03:04:05.678123Z stdout F ` + audit("insufficient_scope", "GET", "/users", "kinde", "u", "admin"), Opens, "insufficient_scope", "allow"},
		"wrapped by Docker":                   {fmt.Sprintf(`{"log":%q,"stream":"stdout","time":"2026-01-02T03:04:05.678123Z"}`, audit("insufficient_scope", "GET", "/users", "kinde", "u", "admin")+"\n"), Opens, "insufficient_scope", "allow"},
		"wrapped by Fluent Bit":               {fmt.Sprintf(`{"date":1764543600.1,"stream":"stdout","logtag":"F","log":%q,"kubernetes":{"pod_name":"x"}}`, audit("insufficient_scope", "GET", "/users", "kinde", "u", "admin")), Opens, "insufficient_scope", "allow"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := replayed(t, test.line+"\n")
			if r.Unreadable > 0 {
				t.Fatalf("the line is not read: %v", r.Junk)
			}
			if test.change == Same {
				if r.Same != 1 || len(r.Groups) != 0 {
					t.Errorf("got %+v, want no change", r.Groups)
				}
				return
			}
			if len(r.Groups) != 1 {
				t.Fatalf("got %d groups, want 1: %+v", len(r.Groups), r)
			}
			g := r.Groups[0]
			if g.Change != test.change || g.Old.Outcome != test.old || g.New.Outcome != test.new {
				t.Errorf("got %s: %s -> %s, want %s: %s -> %s", g.Change, g.Old.Outcome, g.New.Outcome, test.change, test.old, test.new)
			}
		})
	}
}

func TestHosts(t *testing.T) {
	old := parse(t, "version: 1\nrules:\n  - {match: api.example.com/, deny: true}\n  - {match: /, scopes: [a]}\n")
	next := parse(t, "version: 1\nrules:\n  - {match: api.example.com/, public: true}\n  - {match: /, scopes: [a]}\n")
	for name, line := range map[string]string{
		"audit":        audit("access_denied", "GET", "/x", "", ""),
		"envoy JSON":   `{"method":"GET","path":"/x","authority":"API.example.com:443"}`,
		"default text": `[t] "GET /x HTTP/1.1" 200 - 0 5 7 6 "-" "curl" "id" "api.example.com" "10.0.0.1:80"`,
		"istio text":   `[t] "GET /x HTTP/1.1" 200 - via_upstream - "-" 0 5 7 6 "-" "curl" "id" "api.example.com" "10.0.0.1:80" c 1 2 3 - d`,
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Run(t.Context(), strings.NewReader(line), old, next, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Groups) != 1 || r.Groups[0].Change != Opens {
				t.Errorf("the host is not seen: %+v", r)
			}
		})
	}
}

// TestWhatConditionsAsk: a condition counts as decided only if what the log knows decides
// it, however the condition spells what it asks for.
func TestWhatConditionsAsk(t *testing.T) {
	tests := map[string]struct{ when, outcome string }{
		"a claim":                           {`identity.claims.plan == "pro"`, condition},
		"a claim, from the root of names":   {`.identity.claims.plan == "pro"`, condition},
		"a claim as an index":               {`identity.claims["plan"] == "pro"`, condition},
		"whether there is a claim":          {`has(identity.claims.plan)`, condition},
		"whether there is one, by its name": {`"plan" in identity.claims`, condition},
		"the claims as a whole":             {`size(identity.claims) > 3`, condition},
		"a claim in a macro":                {`["plan"].exists(p, p in .identity.claims)`, condition},
		"a claim as a macro's range":        {`identity.claims.roles.exists(r, r == "x")`, condition},
		"a header":                          {`request.headers["x"] == "y"`, condition},
		"a header, from the root of names":  {`.request.headers["x"] == "y"`, condition},
		"whether there is a header":         {`"x" in request.headers`, condition},
		"the header's field":                {`has(request.headers.x)`, condition},
		"an e-mail address":                 {`.identity.email == "a"`, condition},
		"an issuer":                         {`identity.issuer.startsWith("https://")`, condition},
		"the query, which no event has":     {`.request.query.q[0] == "x"`, condition},
		"a subject":                         {`identity.subject == "u"`, allow},
		"another subject":                   {`.identity.subject == "v"`, "access_denied"},
		"a macro's variable called so":      {`[{"claims": "a"}].exists(identity, identity.claims == "a")`, allow},
		"a claim behind such a variable":    {`["a"].exists(identity, identity == "a" && .identity.claims.plan == "pro")`, condition},
		"a subject behind such a variable":  {`["u"].exists(identity, identity == .identity.subject)`, allow},
		"what is known decides":             {`"b" in identity.scopes || identity.claims.admin == true`, allow},
		"what is known denies":              {`"c" in identity.scopes && identity.claims.admin == true`, "access_denied"},
		"what is known does not decide":     {`"b" in identity.scopes && identity.claims.admin == true`, condition},
		"what is unknown may cost too much": {`identity.scopes == ["b"] || identity.claims.l.exists(x, identity.claims.l.exists(y, x == y))`, condition},
		"the path and the host":             {`request.path == "/c" && request.host == "api.example.com" && request.method == "GET"`, allow},
		"the client":                        {`request.client_ip == "192.0.2.1"`, allow},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			old := parse(t, fmt.Sprintf("version: 1\nrules:\n  - {match: /c, when: %q}\n", test.when))
			e, err := parser{}.parse([]byte(audit("allow", "GET", "/c", "kinde", "u", "b")))
			if err != nil {
				t.Fatal(err)
			}
			if got := (&side{set: old}).decide(&e).outcome; got != test.outcome {
				t.Errorf("%s: got %s, want %s", test.when, got, test.outcome)
			}
		})
	}
	for _, when := range []string{`identity["claims"].plan == "pro"`, `request.headers[?"x"].orValue("") == "y"`, `request.headers.?x.hasValue()`} {
		if _, err := policy.Parse(policy.File{Name: "p.yaml", Data: fmt.Appendf(nil, "version: 1\nrules:\n  - {match: /c, when: %q}\n", when)}); err == nil {
			t.Errorf("%s is a condition now: add it to the tests above", when)
		}
	}
}

func TestGroups(t *testing.T) {
	log := strings.Join([]string{
		audit("allow", "GET", "/any", "kinde", "u", "b"),
		"",
		audit("insufficient_scope", "GET", "/users", "kinde", "u", "admin"),
		audit("allow", "GET", "/any", "kinde", "v", "b"),
		audit("allow", "GET", "/users", "kinde", "u", "read:users"),
	}, "\r\n")
	want := &Report{Lines: 4, Same: 1, Groups: []Group{
		{
			Change: Opens, Count: 1,
			Old:     Answer{"insufficient_scope", "GET /users", "policy.yaml:4:5"},
			New:     Answer{"allow", "GET /users", "policy.yaml:4:5"},
			Example: Example{Line: 2, Method: "GET", Host: "api.example.com", Target: "/users"},
		},
		{
			Change: Closes, Count: 2,
			Old:     Answer{"allow", "GET /any", "policy.yaml:12:5"},
			New:     Answer{"insufficient_scope", "GET /any", "policy.yaml:12:5"},
			Example: Example{Line: 1, Method: "GET", Host: "api.example.com", Target: "/any"},
		},
	}}
	if diff := cmp.Diff(want, replayed(t, log)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestJunk(t *testing.T) {
	token := "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."
	junk := []string{
		"hello", "{", `{"method":5,"path":"/x"}`, `{"method":"GET"}`, "[x]", "\xff\xfe\x00", `{"path":"/x","path":"/y"}`, `[1,2]`,
		`token=` + token + ` and more`, `[t] "- - -" 400 - "-" "-"`, strings.Repeat("x", maxLine+100), `[t] "GET`, `null`,
	}
	log := strings.Join(junk, "\n") + "\n" + audit("allow", "GET", "/any", "kinde", "u", "b")
	r := replayed(t, log)
	if r.Unreadable != len(junk) || r.Lines != len(junk)+1 || len(r.Groups) != 1 || len(r.Junk) != maxJunk {
		t.Errorf("got %d unreadable of %d, %d groups, %d shown", r.Unreadable, r.Lines, len(r.Groups), len(r.Junk))
	}
	r = replayed(t, junk[8]+"\n"+junk[10])
	if text := r.Junk[0].Text; strings.Contains(text, "eyJ") || r.Junk[0].Line != 1 {
		t.Errorf("a token is shown: %q", text)
	}
	if r.Junk[1].Reason != errLong.Error() || len(r.Junk[1].Text) > 150 {
		t.Errorf("the long line is reported as %+v", r.Junk[1])
	}
}

func TestGzip(t *testing.T) {
	var log bytes.Buffer
	for range 2 { // two members, as rotated logs are joined
		w := gzip.NewWriter(&log)
		fmt.Fprintln(w, audit("allow", "GET", "/any", "kinde", "u", "b"))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if r := replayed(t, log.String()); r.Lines != 2 || r.Groups[0].Count != 2 {
		t.Errorf("got %+v", r)
	}
	if _, err := Run(t.Context(), bytes.NewReader(log.Bytes()[:60]), parse(t, before), parse(t, after), Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a log that is cut off: %v", err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	log := strings.Repeat(audit("allow", "GET", "/any", "kinde", "u", "b")+"\n", 5000)
	if _, err := Run(ctx, strings.NewReader(log), parse(t, before), parse(t, after), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestMemory reads a log of ten thousand different lines in little more
// memory than a line needs.
func TestMemory(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		fmt.Fprintln(f, audit("allow", "GET", fmt.Sprintf("/any?%d", i), "kinde", fmt.Sprintf("user-%0500d", i), "b", fmt.Sprint("scope-", i)))
		fmt.Fprintf(f, "junk %d\n", i)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	old, next := parse(t, before), parse(t, after)
	var peak, start runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&start)
	most := uint64(0)
	r, err := Run(t.Context(), f, old, next, Options{Progress: func(lines int, _ int64) {
		if lines == 16384 {
			runtime.GC()
			runtime.ReadMemStats(&peak)
			most = max(most, peak.HeapAlloc)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Lines != 20_000 || most == 0 {
		t.Fatalf("read %d lines, measured %d bytes", r.Lines, most)
	}
	if grown := int64(most) - int64(start.HeapAlloc); grown > 2<<20 {
		t.Errorf("%d KiB are held", grown>>10)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(audit("allow", "GET", "/any", "kinde", "u", "b")))
	f.Add([]byte(`{"method":"GET","path":"/x","ext_authz":{"scopes":"[\"a\"]"}}`))
	f.Add([]byte(`[t] "GET /x HTTP/1.1" 200 - 0 5 7 6 "-" "curl" "id" "api.example.com" "10.0.0.1:80"`))
	set, err := policy.Parse(policy.File{Name: "p.yaml", Data: []byte(before)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := Run(t.Context(), bytes.NewReader(line), set, set, Options{})
		if err != nil {
			if bytes.HasPrefix(line, []byte{0x1f, 0x8b}) {
				return
			}
			t.Fatal(err)
		}
		if len(r.Groups) > 0 {
			t.Errorf("a policy differs from itself: %+v", r.Groups)
		}
		if r.Same+r.Unreadable != r.Lines {
			t.Errorf("lines are lost: %+v", r)
		}
	})
}

func BenchmarkRun(b *testing.B) {
	old, err := policy.Parse(policy.File{Name: "p.yaml", Data: []byte(before)})
	if err != nil {
		b.Fatal(err)
	}
	log := strings.Repeat(audit("allow", "GET", "/users", "kinde", "u", "read:users")+"\n", 1000)
	b.SetBytes(int64(len(log)))
	for b.Loop() {
		if _, err := Run(b.Context(), strings.NewReader(log), old, old, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

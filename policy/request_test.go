package policy

import (
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNewRequestPath(t *testing.T) {
	tests := map[string]struct{ target, want, query string }{
		"root":              {"/", "/", ""},
		"plain":             {"/users/42", "/users/42", ""},
		"trailing slash":    {"/users/", "/users/", ""},
		"query":             {"/a?b=c&d=%2e%2e/../", "/a", "b=c&d=%2e%2e/../"},
		"empty query":       {"/a?", "/a", ""},
		"second ?":          {"/a?b?c", "/a", "b?c"},
		"dots in names":     {"/a.b/..c/...", "/a.b/..c/...", ""},
		"punctuation":       {"/-_~!$&'()*+,=:@", "/-_~!$&'()*+,=:@", ""},
		"parameter":         {"/a;v=1/b", "/a;v=1/b", ""},
		"decoded":           {"/%61%20b", "/a b", ""},
		"UTF-8 escaped":     {"/caf%C3%A9", "/café", ""},
		"UTF-8 raw":         {"/café", "/café", ""},
		"percent":           {"/100%25", "/100%", ""},
		"percent and text":  {"/%25zz", "/%zz", ""},
		"question mark":     {"/a%3Fb?c", "/a?b", "c"},
		"number sign":       {"/a%23b", "/a#b", ""},
		"encoded slash":     {"/a%2fb/c%2Fd", "/a%2Fb/c%2Fd", ""},
		"percent, slash":    {"/a%25%2fb", "/a%%2Fb", ""},
		"encoded ; is text": {"/a%3bb", "/a;b", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := NewRequest("GET", "example.com", test.target)
			if err != nil {
				t.Fatal(err)
			}
			if r.Path.String() != test.want || r.Query != test.query {
				t.Errorf("got %q and %q, want %q and %q", r.Path, r.Query, test.want, test.query)
			}
		})
	}
}

func TestNewRequestRefusesPath(t *testing.T) {
	tests := map[string][]string{
		"is empty":                       {"", "?a=b"},
		"is *":                           {"*"},
		"not start with a slash":         {"a", "http://example.com/", "example.com:443", "%2Fa", ".", "\\a"},
		"empty segment":                  {"//", "//a", "/a//b", "/a//", "//example.com/a", "/a%2f/b", "/%2fa", "/a%2F", "/%2f", "/a%2f%2Fb"},
		". or .. segment":                {"/.", "/..", "/./a", "/../a", "/a/.", "/a/..", "/a/./b", "/a/../b", "/a/..?q", "/..;/a", "/a/..;x=y/b", "/.;/a", "/..%3b/a", "/a/..%3Bx", "/x%2f../a", "/x%2F.", "/x/..%2fa", "/a%2f..;b"},
		"escaped dot":                    {"/%2e%2e/a", "/%2E/a", "/.%2e/a", "/a%2eb", "/x%2f%2e%2e/a"},
		"; at the start":                 {"/;/a", "/a/;b", "/%3b", "/a%2f;b"},
		"backslash":                      {`/a\b`, `/a\..\b`, "/a%5cb", "/a%5Cb"},
		"control character":              {"/a%00", "/a%0d%0ab", "/%7f", "/%1f", "/%C2%85", "/%c2%80", "/\u0085", "/\u009f", "/a\x00", "/a\nb", "/a\x7f", "/a?b=\r\nc"},
		"invalid percent-escape":         {"/%", "/%2", "/%zz", "/%u002e", "/a%2/b", "/%%30"},
		"escaped twice":                  {"/%252e%252e/a", "/%252f", "/%255c", "/%2500", "/%2561", "/%25%32%66", "/%25252f"},
		"not UTF-8":                      {"/%ff", "/%c0%ae", "/%c0%af", "/%e0%80%af", "/\xff", "/%ED%A0%80", "/%C3"},
		"fragment":                       {"/a#b", "/#", "/a?b#c", "#"},
		"space that is not escaped":      {"/a b", "/ HTTP/1.1"},
		"the path has an escaped dot (%": {"/a/%2e"},
	}
	for reason, targets := range tests {
		for _, target := range targets {
			r, err := NewRequest("GET", "example.com", target)
			var refused *RequestError
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, reason) {
				t.Errorf("%q: got %q and error %v, want one that has %q", target, r.Path, err, reason)
			}
			if r.Path != (Path{}) || r.Host != "" || r.Method != "" {
				t.Errorf("%q: a refused request must be empty, got %v", target, r)
			}
		}
	}
}

func TestNewRequestHost(t *testing.T) {
	for host, want := range map[string]string{
		"":                        "",
		"example.com":             "example.com",
		"Example.COM":             "example.com",
		"example.com:8080":        "example.com",
		"example.com.":            "example.com",
		"EXAMPLE.com.:443":        "example.com",
		"localhost":               "localhost",
		"a_b-c.example":           "a_b-c.example",
		"127.0.0.1:80":            "127.0.0.1",
		"[::1]":                   "[::1]",
		"[::1]:8080":              "[::1]",
		"[0:0:0:0:0:0:0:1]":       "[::1]",
		"[2001:DB8::1]:443":       "[2001:db8::1]",
		"xn--bcher-kva.example":   "xn--bcher-kva.example",
		strings.Repeat("a", 253):  strings.Repeat("a", 253),
		"[::ffff:10.0.0.1]:65535": "[::ffff:10.0.0.1]",
	} {
		r, err := NewRequest("GET", host, "/")
		if err != nil || r.Host != want {
			t.Errorf("%q: got %q and %v, want %q", host, r.Host, err, want)
		}
	}
}

func TestNewRequestRefusesHost(t *testing.T) {
	for _, host := range []string{
		".", "..", "...", "..:80", "a..b", ".a", "a..", "a..:80", "a...", "A..", "a.:", "a:", "127.0.0.1..", "[::1].", "[::1]..", "[::1]:", ":", ".:80", "a. ", "a.,b", ":80", "a:b", "a:80:90", "a:123456", "a:-1", "a:+1", "user@example.com", "user:pass@example.com",
		"example.com@evil", "example.com/", "example.com\\", "a b", "a\t", "a,b", "a%2eb", "a\x00", "bücher.example", "a\u3002b", "*.example.com",
		"::1", "[::1", "[::1]x", "[::1]80", "[::1%25eth0]", "[fe80::1%eth0]", "[127.0.0.1]", "[]", "[::1]]", "{x}", "a?b", "a#b", "a;b",
		strings.Repeat("a", 254), "\u212a.example", // Kelvin sign: its lower case is k
	} {
		var refused *RequestError
		if r, err := NewRequest("GET", host, "/"); !errors.As(err, &refused) {
			t.Errorf("%q: got host %q and error %v", host, r.Host, err)
		}
	}
}

func TestNewRequestMethod(t *testing.T) {
	for method, ok := range map[string]bool{
		"GET": true, "get": true, "M-SEARCH": true, "X!": true, "": false, "GET ": false, "GET /a": false, "G\x00": false, "GÉT": false, "A:B": false,
	} {
		if _, err := NewRequest(method, "example.com", "/"); (err == nil) != ok {
			t.Errorf("%q: got %v", method, err)
		}
	}
}

func TestNewRequestOfPlainPathAllocatesNothing(t *testing.T) {
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := NewRequest("GET", "api.example.com:443", "/api/v1/users/42.json?full=1"); err != nil {
			t.Error(err)
		}
	})
	if allocs != 0 {
		t.Errorf("got %v allocations", allocs)
	}
}

// seeds for the fuzz targets: what attackers send, and what must go on to work.
func seedTargets(f *testing.F) {
	for _, target := range []string{
		"/", "/users/42", "/users/42?a=b", "/a//b", "/a/../b", "/a/..;/b", "/%2e%2e/", "/a%2fb", "/a%2F", "/%2f", "/a%252fb", "/a%5cb", `/a\b`, "/a%00b",
		"/caf%C3%A9", "/café", "/%ff", "/%c0%ae", "/a%3b", "/;a", "/a;b=c/d", "/%25", "/%25%32%65", "/%25%2F", "/%2%2f5", "*", "", "a", "http://a/b", "/a#b",
		"/a%3Fb", "/a%20b", "/a b", "/\u0085", "/[::1]/{x}", "/\"<>^`|", "/...", "/.a", "/a./", "/%E2%80%AE", "/\u2028", "/admin/../x%2Fy//z?q=1",
	} {
		f.Add(target)
	}
}

// FuzzPath holds canonical paths against net/url and against themselves: whoever
// decodes what was accepted reads the same path, and finds nothing to clean.
func FuzzPath(f *testing.F) {
	seedTargets(f)
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := newPath(raw)
		if err != nil {
			var refused *RequestError
			if !errors.As(err, &refused) || refused.Reason == "" {
				t.Fatalf("%q: error %v is no RequestError with a reason", raw, err)
			}
			return
		}
		canonical := p.String()
		decoded := canonical
		if p.encodedSlash {
			decoded = strings.ReplaceAll(canonical, encodedSlash, "/")
		}
		if raw[0] != '/' || !utf8.ValidString(canonical) || strings.ContainsAny(canonical, "\\\x00\r\n\x7f") {
			t.Fatalf("%q: canonical path %q has what it must not have", raw, canonical)
		}
		if clean := path.Clean(decoded); clean != decoded && clean+"/" != decoded {
			t.Fatalf("%q: canonical path %q is not clean", raw, canonical)
		}
		if !strings.ContainsAny(raw, "?#") {
			u, err := url.ParseRequestURI(raw)
			if err != nil {
				t.Fatalf("%q: net/url refuses what newPath takes: %v", raw, err)
			}
			if u.Path != decoded {
				t.Fatalf("%q: net/url reads %q, newPath reads %q", raw, u.Path, decoded)
			}
		}
		again, err := newPath(p.escaped())
		p.escapedUnreserved = false // escaped writes what needs no escape as it is
		if err != nil || again != p {
			t.Fatalf("%q: %q written as %q is read as %q, %v", raw, canonical, p.escaped(), again, err)
		}
		// Decoding once more changes nothing: no double encoding is left.
		if more, err := url.PathUnescape(strings.ReplaceAll(canonical, encodedSlash, "/")); err == nil && more != decoded {
			t.Fatalf("%q: decoding %q again gives %q", raw, canonical, more)
		}
	})
}

// FuzzNewRequest checks that what is accepted is canonical in all its parts,
// and that it never meets a rule for a path with a slash more.
func FuzzNewRequest(f *testing.F) {
	for _, seed := range [][3]string{
		{"GET", "example.com", "/users/42"}, {"get", "EXAMPLE.com.:80", "/a?b"}, {"CONNECT", "example.com:443", "/"}, {"HEAD", "[::1]:80", "/a/"},
		{"OPTIONS", "", "*"}, {"GET", "user@example.com", "/"}, {"GET", "a..b", "/a%2Fb"}, {"POST", "[fe80::1%25x]", "/%2e"}, {"M-SEARCH", "a", "/admin"},
		{"CONNECT", "admin.example.com", "/admin"}, {"GET", "admin.example.com", "/admin"}, {"GET", "a", "/x/y%2Fz"}, {"GET", "a", "/files"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	set, err := Parse(File{"policy.yaml", []byte(`
version: 1
paths: {allow: [encoded_slash]}
rules:
  - {match: "/{rest...}", name: rest, scopes: [rest]}
  - {match: "/admin/", name: admin, deny: true}
  - {match: "admin.example.com/", name: host, deny: true}
  - {match: "GET /x/{y}", name: segment, public: true}
  - {match: "/files/{$}", name: files, public: true}
`)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, host, target string) {
		r, err := NewRequest(method, host, target)
		if err != nil {
			return
		}
		again, err := NewRequest(r.Method, r.Host, r.Path.escaped()+"?"+r.Query)
		if err != nil || again.Method != r.Method || again.Host != r.Host || again.Path != r.Path || again.Query != r.Query {
			t.Fatalf("%v is read again as %v, %v", r, again, err)
		}
		m, err := set.Match("", &r)
		if err != nil {
			if !r.Path.encodedSlash && !r.Path.escapedUnreserved {
				t.Fatalf("%v: %v", r, err)
			}
			return
		}
		if want := wantRule(r); m.Action() != want {
			t.Fatalf("%v: got rule %q, want %q", r, m.Action(), want)
		}
	})
}

// wantRule says in plain code which rule of FuzzNewRequest's policy matches.
func wantRule(r Request) string {
	p := r.Path.String()
	get := r.Method == "GET" || r.Method == "HEAD"
	segment, isX := strings.CutPrefix(p, "/x/")
	switch {
	case r.Method != strings.ToUpper(r.Method):
		return ""
	case r.Host == "admin.example.com":
		return "host"
	case p == "/admin", p == "/files": // a rule is for the path with a slash
		return ""
	case strings.HasPrefix(p, "/admin/"):
		return "admin"
	case p == "/files/":
		return "files"
	case get && isX && segment != "" && !strings.Contains(segment, "/"):
		return "segment"
	default:
		return "rest"
	}
}

package credential

import (
	"net/url"
	"strings"
	"testing"

	"scopeward/authz/token"
	"scopeward/authz/wire"
)

// places are one of each kind.
func places() Places {
	return Places{List: []Place{
		{}, {Kind: Header, Name: "x-access-token"}, {Kind: Cookie, Name: "access_token"},
		{Kind: Query, Name: "access_token"}, {Kind: Subprotocol, Name: "bearer"},
	}}
}

// after gives the request as it goes upstream.
func after(p Places, r wire.Request) wire.Request {
	var edits wire.Response
	p.Hide(&r, &edits)
	out := wire.Request{Path: r.Path}
	changed := map[string]bool{}
	for _, name := range edits.Remove {
		changed[name] = true
	}
	for _, h := range edits.Set {
		changed[h.Name] = true
		if h.Name == ":path" {
			out.Path = h.Value
			continue
		}
		out.Headers = append(out.Headers, h)
	}
	for _, h := range r.Headers {
		if !changed[h.Name] {
			out.Headers = append(out.Headers, h)
		}
	}
	return out
}

func request(path string, headers ...string) wire.Request {
	r := wire.Request{HTTP: true, Method: "GET", Path: path, Host: "api.example.com", Scheme: "http"}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, wire.Header{Name: headers[i], Value: headers[i+1]})
	}
	return r
}

// TestZeroValue: where nothing is configured, only Authorization counts, and is not touched.
func TestZeroValue(t *testing.T) {
	var p Places
	r := request("/?access_token=a", "cookie", "access_token=a", "authorization", "Bearer b")
	found, err := p.Find(&r, 100)
	if err != nil || found.Raw != "b" || found.CrossSite(&r) {
		t.Errorf("%+v, %v", found, err)
	}
	var edits wire.Response
	if p.Hide(&r, &edits); len(edits.Set)+len(edits.Remove)+len(edits.Answer) > 0 {
		t.Errorf("%+v", edits)
	}
}

// TestNothingStays: after Hide, no place of the upstream's has a credential, and hiding
// again changes nothing.
func TestNothingStays(t *testing.T) {
	p := places()
	p.Withhold = true
	r := request("/a?x=1&access_token=s&access%5Ftoken=s&y", "cookie", "a=1; access_token=s; b=2", "authorization", "Bearer s",
		"x-access-token", "s", "x_access_token", "s", "sec-websocket-protocol", "chat, bearer, s")
	once := after(p, r)
	for _, h := range once.Headers {
		if strings.Contains(h.Value, "s;") || strings.HasSuffix(h.Value, "s") {
			t.Errorf("%s: %s stays", h.Name, h.Value)
		}
	}
	if once.Path != "/a?x=1&y" || once.Header("cookie") != "a=1; b=2" || once.Header("sec-websocket-protocol") != "chat" {
		t.Errorf("%+v", once)
	}
	if hidden := p.Hidden(&r); len(hidden) != 2 {
		t.Errorf("conditions see %v", hidden)
	}
}

func TestParseOrigin(t *testing.T) {
	same := []string{"https://app.acme.dev", "https://APP.acme.dev", "https://app.acme.dev:443"}
	for _, s := range same {
		if o, err := ParseOrigin(s); err != nil || o != (Origin{"https", "app.acme.dev", "443"}) {
			t.Errorf("%s: %v, %v", s, o, err)
		}
	}
	for _, s := range []string{"", "null", "*", "app.acme.dev", "https://", "https://a/", "https://a/b", "https://a?b", "https://a#b", "https://u@a", "https://a:", "https://a:x", "ftp://a", "https://a,https://b", "https://a https://b"} {
		if o, err := ParseOrigin(s); err == nil {
			t.Errorf("%q is taken: %v", s, o)
		}
	}
}

// TestOwnOrigin: the scheme may only look worse than it is.
func TestOwnOrigin(t *testing.T) {
	for _, c := range []struct {
		scheme, forwarded, host, origin string
		own                             bool
	}{
		{"http", "", "a.example", "http://a.example", true},
		{"http", "", "a.example:80", "http://a.example", true},
		{"http", "", "A.example", "https://a.example", true},
		{"http", "", "a.example:8080", "http://a.example:8080", true},
		{"https", "", "[::1]:8443", "https://[0:0:0:0:0:0:0:1]:8443", true},
		{"https", "", "a.example", "http://a.example", false},
		{"http", "https", "a.example", "http://a.example", false},
		{"", "", "a.example", "http://a.example", false},
		{"http", "", "a.example:8080", "http://a.example", false},
		{"http", "", "a.example", "http://b.a.example", false},
		{"http", "", "", "http://a.example", false},
	} {
		r := request("/", "origin", c.origin, "x-forwarded-proto", c.forwarded)
		r.Method, r.Scheme, r.Host = "POST", c.scheme, c.host
		if got := !(Found{cookies: []Place{{Kind: Cookie, Name: "a"}}}).CrossSite(&r); got != c.own {
			t.Errorf("%+v: own %v", c, got)
		}
	}
}

// FuzzCredentials: whatever comes, what is found is a token, nothing of it or of anything
// that a usual parser reads as one goes upstream, and other cookies and parameters stay.
func FuzzCredentials(f *testing.F) {
	f.Add("a=1; access_token=x; b=2", "a=1&access_token=x", "chat, bearer, x")
	f.Add(`a="1; access_token=x"`, "access%5Ftoken=x;access_token=y", "bearer, bearer, x")
	f.Add("access_token=x,access_token=y", "access.token=x&access_token[]=y&&", "bearer")
	f.Fuzz(func(t *testing.T, cookie, query, protocols string) {
		p := places()
		r := request("/p?"+query, "cookie", cookie, "sec-websocket-protocol", protocols)
		found, err := p.Find(&r, 100)
		if (err == nil) != (found.Raw != "") || err == nil && token.CheckRaw(found.Raw, 100) != "" {
			t.Fatalf("%q, %v", found.Raw, err)
		}
		once := after(p, r)
		if again, err := p.Find(&once, 100); again.Raw != "" || strings.Contains(errorText(err), "different") {
			t.Fatalf("upstream finds %q, %v in %+v", again.Raw, err, once)
		}
		if values, _ := url.ParseQuery(queryOf(once.Path)); values.Has("access_token") {
			t.Fatalf("upstream reads %v", values)
		}
		for pair := range strings.SplitSeq(once.Header("cookie"), ";") {
			if name, _, _ := strings.Cut(strings.TrimSpace(pair), "="); unescape(name) == "access_token" {
				t.Fatalf("upstream reads the cookie %q", pair)
			}
		}
		if twice := after(p, once); twice.Path != once.Path || twice.Header("cookie") != once.Header("cookie") {
			t.Fatalf("hiding again changes %+v to %+v", once, twice)
		}
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

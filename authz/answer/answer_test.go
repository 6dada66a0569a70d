package answer

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"scopeward/authz/wire"
)

func must(t testing.TB, compile func() (Template, error)) Template {
	t.Helper()
	made, err := compile()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func body(t testing.TB, contentType, text string) Template {
	return must(t, func() (Template, error) { return NewBody(contentType, text) })
}

func TestQuality(t *testing.T) {
	const example = "text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, text/plain;format=fixed;q=0.4, */*;q=0.5" // RFC 9110 section 12.5.1
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
	for _, tt := range []struct {
		accept, mediaType string
		want              int
	}{
		{"", "text/html", 1000},
		{example, "text/html", 300},
		{example, "text/plain", 700},
		{example, "image/jpeg", 500},
		{browser, "text/html", 1000},
		{browser, "application/json", 800},
		{"TEXT/HTML ; Q=0.25", "text/html", 250},
		{"text/html;charset=utf-8", "text/html", 1000},
		{"text/html;q=0, */*", "text/html", 0},
		{`a/b;x="text/html,text/html", text/html;q=0.1`, "text/html", 100},
		{"text/html;q=1.5", "text/html", 0},
		{"text/html;q=-1, text/html;q=+.5, text/html;q=0.1234, text/html;q=1.001", "text/html", 0},
		{"text/html;q=.5", "text/html", 0},
		{"text", "text/html", 0},
		{",;,/,", "text/html", 0},
		{`"text/html`, "text/html", 0},
		{"*/html", "text/html", 0},
	} {
		if got := qualityOf(tt.accept, tt.mediaType).value; got != tt.want {
			t.Errorf("%q wants %s by %d thousandths, want %d", tt.accept, tt.mediaType, got, tt.want)
		}
	}
}

func TestFind(t *testing.T) {
	login := must(t, func() (Template, error) { return NewRedirect("/login") })
	page, problem := body(t, "text/html", "page"), body(t, "application/problem+json", `"problem"`)
	list := List{
		{Codes: []string{"missing_token"}, Accept: "text/html", Redirect: login},
		{Codes: []string{"missing_token"}, Accept: "text/html", ContentType: "text/html; charset=utf-8", Body: page},
		{Codes: []string{"missing_token", "access_denied"}, Accept: "application/problem+json", ContentType: "application/problem+json", Body: problem},
		{Codes: []string{"access_denied"}, ContentType: "text/html; charset=utf-8", Body: page},
	}
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, tt := range []struct {
		code, method, accept, contentType string
		want                              int
		varies                            bool
	}{
		{"missing_token", "GET", browser, "", 0, true},
		{"missing_token", "HEAD", browser, "", 0, true},
		{"missing_token", "POST", browser, "", 1, true},
		{"missing_token", "OPTIONS", browser, "", 1, true},
		{"missing_token", "GET", "*/*", "", -1, true},
		{"missing_token", "GET", "", "", -1, true},
		{"missing_token", "GET", "application/json, text/html", "", -1, true}, // nothing is preferred
		{"missing_token", "GET", "application/json, text/html;q=0.9", "", -1, true},
		{"missing_token", "GET", "application/json;q=0.9, text/html", "", 0, true},
		{"missing_token", "GET", "text/html;q=0.5, application/problem+json", "", 2, true},
		{"missing_token", "GET", "image/png", "", -1, true},
		{"missing_token", "GET", browser, "application/grpc", -1, false},
		{"missing_token", "GET", browser, "application/grpc-web+proto", -1, false},
		{"missing_token", "GET", browser, "Application/GRPC-web-text", -1, false},
		{"access_denied", "GET", "*/*", "", 3, true},
		{"access_denied", "GET", "application/problem+json", "", 2, true},
		{"access_denied", "GET", "application/json", "", 3, true},
		{"unavailable", "GET", browser, "", -1, false},
	} {
		r := &wire.Request{Method: tt.method, Headers: []wire.Header{{Name: "accept", Value: tt.accept}, {Name: "content-type", Value: tt.contentType}}}
		got, varies := list.Find(tt.code, r)
		var want *Entry
		if tt.want >= 0 {
			want = &list[tt.want]
		}
		if got != want || varies != tt.varies {
			t.Errorf("%+v: got %+v, varies %v", tt, got, varies)
		}
	}
}

// TestFindFallbackOfOneType: a redirect for pages goes before the page for all.
func TestFindFallbackOfOneType(t *testing.T) {
	list := List{
		{Accept: "text/html", Redirect: must(t, func() (Template, error) { return NewRedirect("/login") })},
		{ContentType: "text/html; charset=utf-8", Body: body(t, "text/html", "page")},
	}
	for accept, want := range map[string]int{"text/html, */*;q=0.8": 0, "text/*": 0, "*/*": 1, "": 1, "application/json": 1} {
		got, _ := list.Find("missing_token", &wire.Request{Method: http.MethodGet, Headers: []wire.Header{{Name: "accept", Value: accept}}})
		if got != &list[want] {
			t.Errorf("%q: not entry %d", accept, want)
		}
	}
}

func TestShadowed(t *testing.T) {
	redirect, text := must(t, func() (Template, error) { return NewRedirect("/") }), body(t, "text/plain", "")
	list := List{
		0: {Codes: []string{"a"}, Accept: "text/html", Redirect: redirect},
		1: {Codes: []string{"a"}, Accept: "text/html", Body: text},
		2: {Codes: []string{"a"}, Accept: "text/html", Redirect: redirect},
		3: {Codes: []string{"a"}, Redirect: redirect},
		4: {Codes: []string{"a"}, Accept: "text/html", Redirect: redirect},
		5: {Codes: []string{"a", "b"}, Body: text},
		6: {Accept: "text/css", Body: text},
	}
	for _, tt := range []struct {
		index int
		code  string
		by    int
	}{{0, "a", -1}, {1, "a", -1}, {2, "a", 0}, {3, "a", -1}, {4, "a", 0}, {5, "a", -1}, {5, "b", -1}, {6, "a", 5}, {6, "b", 5}, {6, "c", -1}} {
		by, shadowed := list.Shadowed(tt.index, tt.code)
		if shadowed != (tt.by >= 0) || shadowed && by != tt.by {
			t.Errorf("%d, %s: %d, %v, want %d", tt.index, tt.code, by, shadowed, tt.by)
		}
	}
}

// attacks are what clients write into what a template shows.
var attacks = []string{
	`"><script>alert(1)</script>`, `'-alert(1)-'`, `</script><script>alert(1)//`, `javascript:alert(1)`, "` onload=alert(1) x=`", `\"+alert(1)//`,
	`{"a":1}`, `", "admin": true, "x":"`, `\u0022`, "a\r\nSet-Cookie: s=1\r\n\r\n<b>", "a\nb", "a\x00b", "\xff\xfe", "\u2028\u2029", "{code}{url}{{.url}}", "\x01\x02.url\x02\x01",
	"//evil.example", "https://evil.example/", "&return_to=https://evil.example/", "#@evil.example", "?x", "%0d%0aX: 1", "%", "a b+c", "<!--", "-->", "]]>", "é",
}

// TestAttacks: nothing of what a client writes gets out of the place where a template shows it.
func TestAttacks(t *testing.T) {
	for _, attack := range attacks {
		holds(t, attack)
	}
}

func FuzzValues(f *testing.F) {
	for _, attack := range attacks {
		f.Add(attack)
	}
	f.Fuzz(func(t *testing.T, value string) { holds(t, value) })
}

func holds(t *testing.T, value string) {
	t.Helper()
	v := &Values{Code: value, Error: value, Message: value, Scopes: value, URL: value, RequestID: value}
	valid := strings.ToValidUTF8(value, "\uFFFD")

	const page = `<!DOCTYPE html><title>{error}</title><p class="{code}" data-x='{message}' id={request_id}>{url}</p><a href="/login?to={url}">x</a><a href="{url}">y</a><script>var u = "{url}", m = {message};</script>`
	made := body(t, "text/html; charset=utf-8", page)(v)
	if got, want := shape(made), shape(body(t, "text/html", page)(&Values{"x", "x", "x", "x", "x", "x"})); got != want {
		t.Errorf("%q changes the page to %s:\n%s", value, got, made)
	}
	if strings.Contains(strings.ToLower(made), `href="javascript:`) {
		t.Errorf("%q is an address that is a script: %s", value, made)
	}

	var object map[string]string
	text := body(t, "application/problem+json", `{"title":"{error}","detail":"at {url}: {message}"}`)(v)
	if err := json.Unmarshal([]byte(text), &object); err != nil || len(object) != 2 || object["title"] != valid || object["detail"] != "at "+valid+": "+valid {
		t.Errorf("%q makes %s: %v", value, text, err)
	}

	text = must(t, func() (Template, error) { return NewHeaderValue("a {url} b {request_id}") })(v)
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`",;<>\`, r) }) {
		t.Errorf("%q gets into a header as %q", value, text)
	}

	const login = "https://login.acme.dev/a?b=c&return_to={url}&id={request_id}#f"
	text = must(t, func() (Template, error) { return NewRedirect(login) })(v)
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if q := u.Query(); u.Scheme != "https" || u.Host != "login.acme.dev" || u.Path != "/a" || u.Fragment != "f" || len(q) != 3 || q.Get("return_to") != valid || q.Get("id") != valid {
		t.Errorf("%q redirects to %s", value, text)
	}

	text = body(t, "text/plain", "{url}|{message}")(v)
	if strings.ContainsAny(text, "\r\n\x00") || strings.Count(text, "|") != 1+2*strings.Count(value, "|") {
		t.Errorf("%q makes the text %q", value, text)
	}
	text = body(t, "application/xml", `<p a="{url}">{message}</p>`)(v)
	if strings.Count(text, "<") != 2 || strings.Count(text, ">") != 2 || strings.Count(text, `"`) != 2 {
		t.Errorf("%q makes the XML %s", value, text)
	}
}

// shape is the elements and attributes of a page, in their order.
func shape(page string) string {
	var b strings.Builder
	tokens := html.NewTokenizer(strings.NewReader(page))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			return b.String()
		case html.TextToken:
		default:
			token := tokens.Token()
			b.WriteString(token.Type.String() + token.Data)
			for _, a := range token.Attr {
				b.WriteString(" " + a.Key)
			}
			b.WriteString("\n")
		}
	}
}

func TestLiterals(t *testing.T) {
	v := &Values{Code: "c", Error: "e", Message: "m", Scopes: "s t", URL: "https://a/?b=c d", RequestID: "r"}
	for _, tt := range []struct{ contentType, text, want string }{
		{"text/html", "<style>p{color:red}</style><!-- {{.url}} --><script>if (1) { x() }</script>", "<style>p{color:red}</style><!-- {{.url}} --><script>if (1) { x() }</script>"},
		{"text/html", "<p>{{ {error} }}</p>", "<p>{{ e }}</p>"},
		{"text/html", "<p>{error}{{.url}}</p>", "<p>e{{.url}}</p>"},
		{"application/json", `{"a":{"b":"{code}"},"c":["{scopes}"]}`, `{"a":{"b":"c"},"c":["s t"]}`},
		{"application/x-www-form-urlencoded", "a={url}", "a=https%3A%2F%2Fa%2F%3Fb%3Dc+d"},
		{"text/css", "a{color:red}", "a{color:red}"},
		{"text/plain", "", ""},
	} {
		if got := body(t, tt.contentType, tt.text)(v); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestMistakes(t *testing.T) {
	of := func(contentType string) func(string) (Template, error) {
		return func(text string) (Template, error) { return NewBody(contentType, text) }
	}
	for _, tt := range []struct {
		compile func(string) (Template, error)
		text    string
		offset  int // -1: the whole
		want    string
	}{
		{of("text/html"), "<p>{path}", 3, "there is no placeholder {path}: it must be one of {code}, {error}, {message}, {scopes}, {url}, {request_id}"},
		{of("text/html"), "<p>{URL}", 3, "there is no placeholder {URL}"},
		{of("text/html"), "<p>\n<a onclick=\"x='\n{url}>", 20, "can't be escaped"},
		{of("text/html"), "<p>\x01", 3, "control character"},
		{of("text/html"), "<p>\xff", 3, "no UTF-8"},
		{of("text/html"), strings.Repeat("x", MaxBody+1), -1, "at most 65536"},
		{of("application/json"), `{"a":{url}}`, 5, "outside of a JSON string"},
		{of("application/json"), `{"a":"{url}",}`, 13, "no JSON"},
		{of("application/json"), `<p>`, 0, "set content_type"},
		{of("application/json"), "", 0, "no JSON"},
		{of("text/css"), "a{url}", 1, "no safe way"},
		{of("text/javascript"), `"{url}"`, 1, "no safe way"},
		{of("image/svg+xml"), "<svg>{url}</svg>", 5, "no safe way"},
		{of("application/xml"), "<x:script>{url}</x:script>", 10, "no safe way"},
		{NewRedirect, "https://{url}", 8, "in its query only"},
		{NewRedirect, "{url}", 0, "in its query only"},
		{NewRedirect, "/login/{url}?a=b", 7, "in its query only"},
		{NewRedirect, "https://a/?b=c#{url}", 14, "before #"},
		{NewRedirect, "/login?x={nope}", 9, "there is no placeholder"},
		{NewRedirect, "//evil.example", -1, "without saying how"},
		{NewRedirect, `/\evil.example`, 1, "no URL has"},
		{NewRedirect, "javascript:alert(1)", -1, "http(s) URL"},
		{NewRedirect, "data:text/html,x", -1, "http(s) URL"},
		{NewRedirect, "https://user@acme.dev/", -1, "without a user"},
		{NewRedirect, "login", -1, "http(s) URL"},
		{NewRedirect, "", -1, "http(s) URL"},
		{NewRedirect, "https:///x", -1, "http(s) URL"},
		{NewRedirect, "/a b", 2, "no URL has"},
		{NewRedirect, "/?a={ url }", 5, "no URL has"},
		{NewRedirect, "/?a={}", -1, "no URL"},
		{NewHeaderValue, "a\nb", 1, "printable ASCII"},
		{NewHeaderValue, "é", 0, "printable ASCII"},
		{NewHeaderValue, "{x}", 0, "there is no placeholder"},
	} {
		_, err := tt.compile(tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q: %v, want %q", tt.text, err, tt.want)
			continue
		}
		offset := -1
		if m, ok := errors.AsType[*MistakeError](err); ok {
			offset = m.Offset
		}
		if offset != tt.offset {
			t.Errorf("%.40q: the mistake is at %d, want %d: %v", tt.text, offset, tt.offset, err)
		}
	}
}

func TestTypes(t *testing.T) {
	for written, want := range map[string]string{
		"text/html": "text/html; charset=utf-8", "Text/HTML; Charset=UTF-8": "text/html; charset=UTF-8", "application/problem+json": "application/problem+json",
		"text/html; charset=utf-7": "", "html": "", "*/*": "", "text/*": "", "": "", "a/b; x": "", "text/html\r\nX: y": "",
	} {
		if got, err := ContentType(written); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v, want %q", written, got, err, want)
		}
	}
	for _, name := range []string{"content-type", "location", "retry-after", "www-authenticate", "cache-control", "vary", "transfer-encoding", ":status", "", "a b", "X-Y"} {
		if CheckHeader(name) == "" {
			t.Errorf("an answer may have the header %q", name)
		}
	}
	for _, name := range []string{"x-request-id", "set-cookie", "access-control-allow-origin"} {
		if why := CheckHeader(name); why != "" {
			t.Errorf("%s: %s", name, why)
		}
	}
}

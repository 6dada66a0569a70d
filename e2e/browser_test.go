package e2e

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/websocket"

	"scopeward/internal/testenv/tokentest"
)

// tryBrowser does what browsers do, as far as one can without one: make test-web has one.
func tryBrowser(t *testing.T, e *edge) {
	const origin = "Origin: https://app.acme.dev"
	cookie := "Cookie: a=b; __Host-access_token=" + e.idp.Mint(nil, nil)
	res, _ := e.ask(t, "login", "/users?x=1", "Accept: text/html,*/*;q=0.8")
	if want := "https://login.acme.dev/?return_to=http%3A%2F%2Fapi.example.com%2Fusers%3Fx%3D1"; res.StatusCode != http.StatusFound || res.Header.Get("Location") != want {
		t.Errorf("a page gets %s %v, want a redirect to %s", res.Status, res.Header, want)
	}
	e.wantAnswer(t, 200, "upstream", "/users?cookie", cookie)
	if seen := e.upstream.headers("/users?cookie"); seen.Get("Cookie") != "a=b" {
		t.Errorf("the service sees the cookies %q", seen.Get("Cookie"))
	}
	res, _ = e.ask(t, "cors", "/users", cookie, origin)
	if res.StatusCode != 200 || res.Header.Get("Access-Control-Allow-Origin") != "https://app.acme.dev" || res.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("the application's page gets %s %v", res.Status, res.Header)
	}
	res, body := e.ask(t, "denied", "/users", origin)
	if res.StatusCode != 401 || !strings.Contains(body, "missing_token") || res.Header.Get("Access-Control-Allow-Origin") != "https://app.acme.dev" {
		t.Errorf("the application's page can't read %s %v", res.Status, res.Header)
	}
	res, body = e.ask(t, "evil", "/users", cookie, "Origin: https://evil.example")
	if res.StatusCode != 403 || !strings.Contains(body, "cross_site") || res.Header.Get("Access-Control-Allow-Origin") != "" || e.upstream.headers("evil") != nil {
		t.Errorf("another site's page gets %s %v %s", res.Status, res.Header, body)
	}
	preflight := "OPTIONS /users HTTP/1.1\r\nHost: api.example.com\r\nOrigin: https://app.acme.dev\r\nAccess-Control-Request-Method: PUT\r\nConnection: close\r\n\r\n"
	res, _ = exchange(t, strings.TrimPrefix(e.url, "http://"), []byte(preflight))
	if res.StatusCode != 200 || !strings.Contains(res.Header.Get("Access-Control-Allow-Methods"), "PUT") {
		t.Errorf("the preflight request gets %s %v", res.Status, res.Header)
	}
}

// openSocket makes a WebSocket through Envoy that offers protocols.
func openSocket(t *testing.T, address, origin string, protocols ...string) (*websocket.Conn, error) {
	t.Helper()
	config, err := websocket.NewConfig("ws://"+address+"/socket", origin)
	if err != nil {
		t.Fatal(err)
	}
	config.Protocol = protocols
	return config.DialContext(t.Context())
}

// echoServer is a service that takes WebSockets at /socket, chooses the first protocol that
// it is offered, and sends back what it gets, after the headers that it saw.
func echoServer(w http.ResponseWriter, r *http.Request) {
	websocket.Server{
		Handshake: func(c *websocket.Config, _ *http.Request) error {
			if len(c.Protocol) > 0 {
				c.Protocol = c.Protocol[:1]
			}
			return nil
		},
		Handler: func(ws *websocket.Conn) {
			var text string
			for websocket.Message.Receive(ws, &text) == nil {
				seen := r.Header.Get("X-Auth-Subject") + "|" + strings.Join(r.Header.Values("Sec-Websocket-Protocol"), ",") + "|" + r.Header.Get("Cookie")
				if websocket.Message.Send(ws, text+" "+seen) != nil {
					return
				}
			}
		},
	}.ServeHTTP(w, r)
}

// TestWebSocket: the token comes as a subprotocol, and the socket works; the service never
// sees it.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	e := startEdge(t, "browser.yaml")
	e.upstream.Config.Handler = http.HandlerFunc(echoServer)
	replace(t, e.dir+"/policy.yaml", "rules:\n", "rules:\n  - {match: GET /socket, scopes: [read:users]}\n")
	token := e.idp.Mint(nil, nil)
	address := strings.TrimPrefix(e.url, "http://")
	eventually(t, "the rule for the socket is live", func() bool {
		ws, err := openSocket(t, address, "https://app.acme.dev", "bearer", token)
		if err == nil {
			_ = ws.Close()
		}
		return err == nil
	})
	for _, tt := range []struct {
		offered []string
		chosen  string
		seen    string
	}{
		{[]string{"bearer", token}, "bearer", ""},
		{[]string{"graphql-ws", "bearer", token}, "graphql-ws", "graphql-ws"},
		{[]string{"bearer", token, "chat"}, "chat", "chat"},
	} {
		ws, err := openSocket(t, address, "https://app.acme.dev", tt.offered...)
		if err != nil {
			t.Errorf("%d protocols: %v", len(tt.offered), err)
			continue
		}
		if got := ws.Config().Protocol; len(got) != 1 || got[0] != tt.chosen {
			t.Errorf("%d protocols: the handshake chose %q, want %q", len(tt.offered), got, tt.chosen)
		}
		var got string
		if err := websocket.Message.Send(ws, "hello"); err != nil {
			t.Error(err)
		}
		if err := websocket.Message.Receive(ws, &got); err != nil || got != "hello "+tokentest.Subject+"|"+tt.seen+"|" {
			t.Errorf("%d protocols: got %q, %v", len(tt.offered), got, err)
		}
		_ = ws.Close()
	}
	for name, offered := range map[string][]string{"no token": {"bearer"}, "a bad one": {"bearer", "abc"}, "none": nil, "other protocols": {"chat"}, "two": {"bearer", token, "bearer", e.idp.Mint(map[string]any{"jti": "2"}, nil)}} {
		if ws, err := openSocket(t, address, "https://app.acme.dev", offered...); err == nil {
			_ = ws.Close()
			t.Errorf("%s: there is a socket", name)
		}
	}
}

package page

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"scopeward/authz/audit"
)

func newPage(t *testing.T, o Options) (*httptest.Server, *audit.Recent) {
	t.Helper()
	if o.Recent == nil {
		o.Recent = audit.NewRecent()
	}
	if o.State == nil {
		o.State = func() State { return State{} }
	}
	if o.Rules == nil {
		o.Rules = func() []Rule { return []Rule{} }
	}
	if o.Explain == nil {
		o.Explain = func(_ context.Context, q Question) (any, error) { return q.Method + " " + q.URL, nil }
	}
	s := httptest.NewUnstartedServer(New(o))
	s.Config.ReadTimeout, s.Config.WriteTimeout = 500*time.Millisecond, 500*time.Millisecond // which a stream outlives
	s.Start()
	t.Cleanup(s.Close)
	return s, o.Recent
}

func ask(t *testing.T, method, url, contentType, body string) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // no answer must end
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// TestHeaders: the browser is told to run nothing but the page's own files, whatever is
// asked for.
func TestHeaders(t *testing.T) {
	t.Parallel()
	s, _ := newPage(t, Options{})
	for path, status := range map[string]int{"/": 200, "/page.css": 200, "/page.js": 200, "/icon.svg": 200, "/state": 200, "/rules": 200, "/nothing": 404} {
		res, _ := ask(t, "GET", s.URL+path, "", "")
		if res.StatusCode != status {
			t.Errorf("%s: %s", path, res.Status)
		}
		policy := res.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy lacks %s: %s", path, want, policy)
			}
		}
		if strings.Contains(policy, "unsafe") || res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, res.Header)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		for _, path := range []string{"/", "/state", "/rules", "/stream"} {
			if res, _ := ask(t, method, s.URL+path, "", ""); res.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %s", method, path, res.Status)
			}
		}
	}
}

// TestNothingFromElsewhere: the page needs nothing but itself, and has no script or style
// within its markup.
func TestNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"page.html", "page.css", "page.js"} {
		text, err := assets.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, banned := range []string{`(src|href|action)="?(https?:)?//`, `fetch\("https?:`, `@import`, `url\(`, `innerHTML`, `outerHTML`, `insertAdjacentHTML`, `document\.write`, `\beval\b`, ` on[a-z]+=`, `style=`, `<style`, `<script>`, `localStorage`} {
			if found := regexp.MustCompile(banned).Find(text); found != nil {
				t.Errorf("%s has %q", name, found)
			}
		}
	}
}

func event(path, code string) *audit.Event {
	return &audit.Event{Action: "GET /users", Rule: "policy.yaml:7:5", Method: "GET", Path: path, Code: code, Success: code == "allow", Cache: "none"}
}

// open reads a stream; lines gives what comes.
func open(t *testing.T, url string) (status int, lines *bufio.Scanner) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res.StatusCode, bufio.NewScanner(res.Body)
}

// until reads up to a line with the text, and gives all that was read.
func until(t *testing.T, lines *bufio.Scanner, text string) (read []string) {
	t.Helper()
	for lines.Scan() {
		read = append(read, lines.Text())
		if strings.Contains(lines.Text(), text) {
			return read
		}
	}
	t.Fatalf("the stream ended (%v) before %q: %q", lines.Err(), text, read)
	return nil
}

// TestStream: decisions come as they are made, for longer than a request may take; who
// comes back gets what came meanwhile, and the filter takes what it says.
func TestStream(t *testing.T) {
	t.Parallel()
	s, recent := newPage(t, Options{})
	_, lines := open(t, s.URL+"/stream")
	until(t, lines, "event: at")
	recent.Add(event("/first", "allow"))
	first := until(t, lines, "/first")
	id := strings.TrimPrefix(first[len(first)-2], "id: ")
	for range 4 { // beyond the server's time-outs
		time.Sleep(200 * time.Millisecond)
		recent.Add(event("/more", "allow"))
		until(t, lines, "/more")
	}
	recent.Add(event("/denied/É", "missing_token"))
	until(t, lines, "/denied")

	_, back := open(t, s.URL+"/stream?after="+id)
	if read := strings.Join(until(t, back, "/denied"), "\n"); strings.Contains(read, "/first") || strings.Count(read, "/more") != 4 || strings.Contains(read, "missed") {
		t.Errorf("who comes back gets %s", read)
	}
	for query, want := range map[string]int{
		"": 6, "?code=allow": 5, "?code=denied": 1, "?code=missing_token": 1, "?code=unavailable": 0, "?rule=policy.yaml:7:5": 6, "?rule=none": 0,
		"?text=MORE": 4, "?text=%C3%A9": 1, "?code=denied&text=more": 0, "?text=durationMs": 0,
	} {
		_, lines := open(t, s.URL+"/stream"+query)
		read := until(t, lines, "event: at")
		if got := strings.Count(strings.Join(read, "\n"), "event: decision"); got != want {
			t.Errorf("%s: %d decisions, want %d", query, got, want)
		}
	}
	_, lines = open(t, s.URL+"/stream?after=1")
	until(t, lines, "event: gap")
}

// TestPagesAreBounded: 200 pages are no matter; beyond the bound the answer says so, and
// a page that is closed makes room.
func TestPagesAreBounded(t *testing.T) {
	t.Parallel()
	s, recent := newPage(t, Options{})
	ctx, closeAll := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range maxPages {
		r, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
		all.Go(func() {
			defer res.Body.Close()
			lines := bufio.NewScanner(res.Body)
			for lines.Scan() && !strings.Contains(lines.Text(), "/seen-by-all") {
			}
			if lines.Err() != nil {
				t.Error(lines.Err())
			}
		})
	}
	res, body := ask(t, "GET", s.URL+"/stream", "", "")
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(body, "256 pages are open") {
		t.Errorf("one more page: %s %s", res.Status, body)
	}
	recent.Add(event("/seen-by-all", "allow")) // and each page is closed
	all.Wait()
	closeAll()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		status, _ := open(t, s.URL+"/stream")
		if status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("pages that are closed make no room")
		}
	}
}

// TestWhoDoesNotReadIsDropped: its connection is closed, and its place is free again.
func TestWhoDoesNotReadIsDropped(t *testing.T) {
	t.Parallel()
	recent := audit.NewRecent()
	stream := newStream(recent)
	stream.tick, stream.patience = time.Millisecond, 50*time.Millisecond
	s := httptest.NewServer(stream)
	t.Cleanup(s.Close)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	long := event("/"+strings.Repeat("x", 1000), "allow")
	opened := false
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		opened = opened || len(stream.open) == 1
		if opened && len(stream.open) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a page that never reads is still connected")
		}
		for range 200 {
			recent.Add(long)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	s, _ := newPage(t, Options{Explain: func(_ context.Context, q Question) (any, error) {
		if q.Method == "" {
			return nil, errors.New("what method?")
		}
		return map[string]any{"asked": q.Method + " " + q.URL, "scopes": q.Scopes}, nil
	}})
	const json = "application/json"
	for _, test := range []struct {
		name, contentType, body string
		status                  int
		want                    string
	}{
		{"good", json, `{"method":"GET","url":"/users","scopes":["a"]}`, 200, `{"asked":"GET /users","scopes":["a"]}`},
		{"no method", json, `{"url":"/users"}`, 400, `{"error":"what method?"}`},
		{"a form of another site", "text/plain", `{"method":"GET"}`, 415, "application/json"},
		{"broken", json, `{"token":"secret`, 400, "can't be read"},
		{"unknown", json, `{"tokne":"secret"}`, 400, "can't be read"},
		{"huge", json, `{"token":"` + strings.Repeat("secret", maxQuestion/6) + `"}`, 400, "can't be read"},
	} {
		res, body := ask(t, "POST", s.URL+"/explain", test.contentType, test.body)
		if res.StatusCode != test.status || !strings.Contains(body, test.want) || strings.Contains(body, "secret") {
			t.Errorf("%s: %s %s", test.name, res.Status, body)
		}
	}
	if res, _ := ask(t, "GET", s.URL+"/explain?token=x", "", ""); res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("by GET: %s", res.Status)
	}
}

// TestExplainsAreBounded: a question may cost a request to the provider.
func TestExplainsAreBounded(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	asked := make(chan struct{}, maxExplaining)
	s, _ := newPage(t, Options{Explain: func(context.Context, Question) (any, error) { asked <- struct{}{}; <-answer; return 1, nil }})
	var all sync.WaitGroup
	for range maxExplaining {
		all.Go(func() {
			res, err := http.Post(s.URL+"/explain", "application/json", strings.NewReader("{}"))
			if err != nil || res.StatusCode != 200 {
				t.Error(res, err)
				return
			}
			res.Body.Close()
		})
	}
	for range maxExplaining {
		<-asked
	}
	if res, body := ask(t, "POST", s.URL+"/explain", "application/json", "{}"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more: %s %s", res.Status, body)
	}
	close(answer)
	all.Wait()
}

// TestStateIsMadeOnce for all pages within a second.
func TestStateIsMadeOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	made := 0
	s, _ := newPage(t, Options{State: func() State { mu.Lock(); defer mu.Unlock(); made++; return State{Version: "v1"} }})
	start := time.Now()
	for range 50 {
		if _, body := ask(t, "GET", s.URL+"/state", "", ""); !strings.Contains(body, `"version":"v1"`) {
			t.Fatal(body)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if most := 1 + int(time.Since(start)/time.Second); made > most {
		t.Errorf("it was made %d times in %v", made, time.Since(start))
	}
}

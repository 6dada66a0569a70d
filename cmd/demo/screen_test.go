package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDecision(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := at.Local().Format(time.TimeOnly)
	for _, c := range []struct{ name, line, want string }{
		{"allowed", `{"timestamp":"2026-01-02T03:04:05Z","action":"GET /users","success":true,"userId":"kp_1","scopes":["a","b"],"code":"allow","method":"GET","path":"/users","provider":"keys","cache":"hit","durationMs":1.26}`,
			clock + `  ALLOWED  GET /users  rule "GET /users"  kp_1  [a b]  keys (cache hit)  1.3 ms`},
		{"denied", `{"timestamp":"2026-01-02T03:04:05Z","action":"GET /users","success":false,"code":"missing_token","method":"GET","path":"/users","reason":"no token"}`,
			clock + `  DENIED  missing_token  GET /users  rule "GET /users"  no token  0.0 ms`},
		{"what clients write can't steer the terminal", `{"timestamp":"2026-01-02T03:04:05Z","code":"x","method":"GET","path":"/\u001b[2J\u0007\u009b","userId":"\u202e"}`,
			clock + `  DENIED  x  GET /\x1b[2J\a\u009b  rule ""  \u202e  0.0 ms`},
		{"not an event", "panic: \x1b[31m", `scopeward  panic: \x1b[31m`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			(&screen{out: &out}).decision([]byte(c.line))
			if diff := cmp.Diff(c.want+"\n", out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLogLine(t *testing.T) {
	const info = `{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"policy reloaded","version":"abc"}`
	const bad = `{"time":"2026-01-02T03:04:05Z","level":"ERROR","msg":"policy not reloaded","error":"policy.yaml:3:1: a\npolicy.yaml:4:1: b"}`
	var out bytes.Buffer
	s := &screen{out: &out}
	s.logLine([]byte(info), false)
	if out.Len() > 0 {
		t.Errorf("told while starting: %s", &out)
	}
	s.logLine([]byte(info), true)
	s.logLine([]byte(bad), false)
	for _, want := range []string{"policy reloaded  version=abc\n", "\n    policy.yaml:3:1: a\n    policy.yaml:4:1: b\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &out)
		}
	}
}

func TestColours(t *testing.T) {
	if got := (&screen{colour: true}).paint(red, "x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("got %q", got)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if newScreen(file).colour {
		t.Error("colours in a file")
	}
}

func TestLines(t *testing.T) {
	var got []string
	l := &lines{each: func(line []byte) { got = append(got, string(line)) }}
	for _, piece := range []string{"a\nb", "c\n\nd", "\n", "open"} {
		if n, err := l.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
	}
	if want := []string{"a", "bc", "", "d"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRequestsAreSelfContained(t *testing.T) {
	list := requests(tokens{keys: "keys"})
	got := list[0].render("http://127.0.0.1:8080")
	want := "# 200: " + list[0].why + "\ncurl -sS -i --noproxy '*' -H 'Authorization: Bearer keys' 'http://127.0.0.1:8080/users'"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

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

func TestRequests(t *testing.T) {
	first := requests()[0]
	got := first.render("$API", first.bearer())
	want := "# 200: " + first.why + "\ncurl -sSi --noproxy '*' -H \"Authorization: Bearer $TOKEN\" $API/users"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestReminder: the page's address does not scroll away among decisions.
func TestReminder(t *testing.T) {
	var out strings.Builder
	d := &demo{screen: &screen{out: &out}, admin: "127.0.0.1:9192"}
	for range 3 * remindEvery {
		d.decision([]byte("{}"))
	}
	if got := strings.Count(out.String(), "http://127.0.0.1:9192/"); got != 3 {
		t.Errorf("the address shows %d times in:\n%s", got, &out)
	}
}

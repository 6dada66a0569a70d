package main

import (
	"bytes"
	"strings"
	"testing"

	"scopeward/cmd/demo/idp"
)

// TestTwoDemos: the second demo of a user leaves the first its place, and is told apart by --control.
func TestTwoDemos(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	publish := func() (command, url string, remove func()) {
		t.Helper()
		d := &demo{screen: &screen{out: &bytes.Buffer{}}}
		command, remove, err := d.publishControl(t.Context(), "demo")
		if err != nil {
			t.Fatal(err)
		}
		_, url, _ = strings.Cut(command, " --control ")
		return command, url, remove
	}
	first, _, removeFirst := publish()
	if first != "demo provider" {
		t.Errorf("the first demo: %q", first)
	}
	_, url, removeSecond := publish()
	if _, err := idp.Ask(t.Context(), url, "ping"); err != nil {
		t.Errorf("the second demo does not answer at %q: %v", url, err)
	}
	if base := url[:strings.LastIndex(url, "/")]; base != "" {
		if _, err := idp.Ask(t.Context(), base, "ping"); err == nil {
			t.Error("the control port answers without its secret path")
		}
	}
	removeFirst()
	if again, _, remove := publish(); again != "demo provider" {
		t.Errorf("after the first demo has ended: %q", again)
	} else {
		remove()
	}
	removeSecond()
}

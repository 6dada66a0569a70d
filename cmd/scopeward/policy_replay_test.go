package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestProgressBar(t *testing.T) {
	var out bytes.Buffer
	bar := &progressBar{out: &out, size: 1000, start: time.Now().Add(-time.Second)}
	bar.show(50, 500)
	bar.show(60, 600) // too soon after the last
	if got, want := out.String(), clearLine+"["+strings.Repeat("=", 15)+strings.Repeat(" ", 15)+"]  50% 50 lines, "; !strings.HasPrefix(got, want) || strings.Count(got, clearLine) != 1 {
		t.Errorf("got %q, want %q once", got, want)
	}
	out.Reset()
	bar.clear()
	if out.String() != clearLine {
		t.Errorf("the bar is left behind: %q", &out)
	}
	out.Reset()
	unknown := &progressBar{out: &out, start: time.Now().Add(-time.Second)}
	unknown.clear()
	unknown.show(50, 500)
	if got := out.String(); !strings.HasPrefix(got, clearLine+"50 lines, ") {
		t.Errorf("without a size: %q", got)
	}
	if _, ok := terminal(&out); ok {
		t.Error("a buffer is taken for a terminal")
	}
}

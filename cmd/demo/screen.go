package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"scopeward/authz/audit"
)

// screen is where the demo talks to a person. Whole lines only, from any goroutine.
type screen struct {
	mu     sync.Mutex
	out    io.Writer
	colour bool
}

// newScreen uses colours on a terminal, unless $NO_COLOR is set (https://no-color.org).
func newScreen(f *os.File) *screen {
	info, err := f.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &screen{out: f, colour: terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format+"\n", args...)
}

// Write implements io.Writer for lines that others have made, such as the progress of Envoy's install.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

// Colours are SGR parameters of ECMA-48.
const (
	bold   = "1"
	red    = "31"
	yellow = "33"
)

func (s *screen) paint(colour, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// decision shows one line of Scopeward's standard output.
func (s *screen) decision(line []byte) { s.say("%s", audit.View{Colour: s.colour}.Line(line)) }

// logLine shows one line of Scopeward's log (slog's JSON) if it is at least a warning, or if chatty.
func (s *screen) logLine(line []byte, chatty bool) {
	var attributes map[string]any
	if err := json.Unmarshal(line, &attributes); err != nil {
		s.say("scopeward  %s", printable(string(line)))
		return
	}
	level, _ := attributes["level"].(string)
	if !chatty && level != "WARN" && level != "ERROR" {
		return
	}
	message, _ := attributes["msg"].(string)
	when, _ := attributes["time"].(string)
	at, err := time.Parse(time.RFC3339Nano, when)
	if err != nil {
		at = time.Now()
	}
	for _, known := range []string{"level", "msg", "time"} {
		delete(attributes, known)
	}
	var rest strings.Builder
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		value := fmt.Sprint(attributes[name])
		if strings.Contains(value, "\n") { // all mistakes of a policy, one per line
			value = "\n    " + strings.ReplaceAll(value, "\n", "\n    ")
		}
		fmt.Fprintf(&rest, "  %s=%s", name, value)
	}
	colour := map[string]string{"WARN": yellow, "ERROR": red}[level]
	if colour == "" {
		colour = bold
	}
	s.say("%s  %s  %s%s", at.Local().Format(time.TimeOnly), s.paint(colour, "scopeward"), printable(message), printable(rest.String()))
}

// printable keeps what clients wrote from steering the terminal. Newlines stay.
func printable(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = audit.Printable(line)
	}
	return strings.Join(lines, "\n")
}

// lines is an io.Writer that calls a function for each whole line. A line longer than a mebibyte comes in pieces.
type lines struct {
	mu   sync.Mutex
	open []byte
	each func(line []byte)
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, b...)
	for {
		line, rest, ended := bytes.Cut(l.open, []byte("\n"))
		if !ended {
			break
		}
		l.each(line)
		l.open = rest
	}
	if len(l.open) > 1<<20 {
		l.each(l.open)
		l.open = nil
	}
	return len(b), nil
}

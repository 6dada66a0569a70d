package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
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
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (s *screen) paint(colour, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// event is Scopeward's audit event.
type event struct {
	Timestamp  time.Time `json:"timestamp"`
	Action     string    `json:"action"`
	Success    bool      `json:"success"`
	UserID     string    `json:"userId"`
	Scopes     []string  `json:"scopes"`
	Code       string    `json:"code"`
	Method     string    `json:"method"`
	Path       string    `json:"path"`
	Provider   string    `json:"provider"`
	Cache      string    `json:"cache"`
	DurationMS float64   `json:"durationMs"`
	Reason     string    `json:"reason"`
}

// decision shows one line of Scopeward's standard output.
func (s *screen) decision(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Code == "" {
		s.say("scopeward  %s", printable(string(line)))
		return
	}
	mark := s.paint(green, "ALLOWED")
	if !e.Success {
		mark = s.paint(red, "DENIED ") + " " + e.Code
	}
	var about []string
	if e.UserID != "" {
		about = append(about, e.UserID)
	}
	if len(e.Scopes) > 0 {
		about = append(about, "["+strings.Join(e.Scopes, " ")+"]")
	}
	if e.Provider != "" {
		about = append(about, e.Provider+" (cache "+e.Cache+")")
	}
	if e.Reason != "" {
		about = append(about, e.Reason)
	}
	about = append(about, fmt.Sprintf("%.1f ms", e.DurationMS))
	s.say("%s  %s  %s %s  rule %q  %s", e.Timestamp.Local().Format(time.TimeOnly), mark, printable(e.Method), printable(e.Path), e.Action,
		s.paint(dim, printable(strings.Join(about, "  "))))
}

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
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
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

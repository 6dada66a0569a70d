package main

import (
	"io"
	"os"
	"regexp"
	"strings"

	"golang.org/x/term"
)

// terminal gives the terminal that w is, if it is one that knows escape sequences.
func terminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return nil, false
	}
	return f, true
}

// coloured tells whether w takes colours, and the person wants them (https://no-color.org).
func coloured(w io.Writer) bool {
	_, ok := terminal(w)
	return ok && os.Getenv("NO_COLOR") == ""
}

// highlights are what a person looks for in the text that commands print, and its colour (SGR
// parameters of ECMA-48).
var highlights = []struct {
	text   *regexp.Regexp
	colour string
}{
	{regexp.MustCompile(`^\S+:\d+:\d+:`), "1"},
	{regexp.MustCompile(`\b(?:All is well|is allowed\b|No drift|\d+ tests? passed|decided alike)`), "32"},
	{regexp.MustCompile(`\b(?:WARNING|MAY DIFFER|may open|may close|is allowed only)|^(?:medium|low|info):`), "33"},
	{regexp.MustCompile(`\b(?:FAILED|NOT ENFORCED|NOT PROTECTED|OPENS|is denied|failed|mistakes? found)|^(?:high|opens):`), "31"},
}

// forPeople colours what is printed to w line by line, where w is a terminal.
func forPeople(w io.Writer) io.Writer {
	if !coloured(w) {
		return w
	}
	return painter{w}
}

// painter highlights each line; a Write ends with one.
type painter struct{ out io.Writer }

func (p painter) Write(text []byte) (int, error) {
	var painted strings.Builder
	for line := range strings.Lines(string(text)) {
		painted.WriteString(paint(line))
	}
	if _, err := io.WriteString(p.out, painted.String()); err != nil {
		return 0, err
	}
	return len(text), nil
}

// paint colours the first match of each highlight.
func paint(line string) string {
	for _, h := range highlights {
		if at := h.text.FindStringIndex(line); at != nil {
			line = line[:at[0]] + "\x1b[" + h.colour + "m" + line[at[0]:at[1]] + "\x1b[0m" + line[at[1]:]
		}
	}
	return line
}

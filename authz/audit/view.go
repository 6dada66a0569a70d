package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"scopeward/internal/logline"
)

// View shows events to a person, a line for each.
type View struct {
	Colour bool // whether colours may be used: a terminal's escape sequences
}

// SGR parameters of ECMA-48.
const (
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (v View) paint(colour, text string) string {
	if !v.Colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// Line shows a line of JSON, without a newline at the end. What is no event is
// shown as it is, so that nothing that stands between events is lost.
func (v View) Line(line []byte) string {
	if shown, ok := v.event(line); ok {
		return shown
	}
	return Printable(string(line))
}

func (v View) event(line []byte) (shown string, ok bool) {
	var e Event
	if err := json.Unmarshal(line, &e); err != nil || e.Code == "" {
		return "", false
	}
	return strings.Join([]string{
		e.Timestamp.Local().Format("15:04:05.000"), v.mark(&e), Printable(e.Method + " " + e.Host + e.Path), v.paint(dim, Printable(e.about())),
	}, "  "), true
}

// mark says what became of the request, in the colour of that.
func (v View) mark(e *Event) string {
	switch {
	case !e.Success:
		return v.paint(red, "DENIED") + "  " + Printable(e.Code)
	case e.Code == "metadata":
		return v.paint(green, "ANSWERED") + "  " + e.Code
	case e.WouldBe != "":
		return v.paint(yellow, "ALLOWED") + "  would be " + Printable(e.WouldBe)
	default:
		return v.paint(green, "ALLOWED")
	}
}

// about is all that else is to be said.
func (e *Event) about() string {
	var about []string
	add := func(text, value string) {
		if value != "" {
			about = append(about, text+value)
		}
	}
	switch {
	case e.Rule != "":
		add("rule ", strconv.Quote(e.Action))
	case e.Code != "metadata":
		add("", "no rule")
	}
	add("", e.UserID)
	if len(e.Scopes) > 0 {
		add("", "["+strings.Join(e.Scopes, " ")+"]")
	}
	if e.Provider != "" {
		add(e.Provider, " (cache "+e.Cache+")")
	}
	add("", e.Reason)
	add("shadow: ", e.Shadow)
	add("", fmt.Sprintf("%.1f ms", e.DurationMS))
	return strings.Join(about, "  ")
}

// Printable keeps what clients wrote from steering the terminal, and in one line.
func Printable(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

// Writer shows whole lines of events that are written to it on out.
func (v View) Writer(out io.Writer) io.Writer { return viewWriter{v, out} }

type viewWriter struct {
	View
	out io.Writer
}

// Write tells of an error what it is, but not how far it came: that many bytes
// of another text say nothing.
func (w viewWriter) Write(lines []byte) (int, error) {
	var shown bytes.Buffer
	for line := range bytes.Lines(lines) {
		shown.WriteString(w.Line(bytes.TrimSuffix(line, []byte("\n"))) + "\n")
	}
	if _, err := w.out.Write(shown.Bytes()); err != nil {
		return 0, err
	}
	return len(lines), nil
}

// maxLine bounds a line that Show reads. Envoy's own limit for all headers of a
// request is 60 KiB.
const maxLine = 1 << 20

// ErrNoEvents says that a log is another one than was meant.
var ErrNoEvents = errors.New("none of its lines is an audit event: give the log that audit.to names, or Scopeward's standard output")

// Show shows the events of a log as they come, until its end, without what runtimes and
// collectors have put around them. A line of more than a mebibyte is an error; a log that
// has lines and no event is [ErrNoEvents], after they have been shown.
func (v View) Show(out io.Writer, log io.Reader) error {
	lines := bufio.NewReaderSize(log, maxLine)
	var wrapped logline.Unwrapper
	read, events := 0, 0
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 && (err == nil || err == io.EOF) {
			read++
			line = bytes.TrimRight(line, "\r\n")
			content, complete := wrapped.Unwrap(line)
			shown, ok := v.event(content)
			if ok {
				events++
			} else {
				shown = Printable(string(line))
			}
			if complete {
				if _, err := io.WriteString(out, shown+"\n"); err != nil {
					return err
				}
			}
		}
		switch {
		case err == io.EOF:
			for _, part := range wrapped.Rest() {
				if _, err := io.WriteString(out, v.Line(part)+"\n"); err != nil {
					return err
				}
			}
			if read > 0 && events == 0 {
				return ErrNoEvents
			}
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
			return errors.New("a line is longer than 1 MiB: this is no audit log")
		case err != nil:
			return err
		}
	}
}

package login

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/mdp/qrterminal/v3"
)

// Screen is where the flow talks to the person; never where the token goes.
type Screen struct {
	Out     io.Writer
	Columns int  // of the terminal; 0: it is none, and there is neither a QR code nor a line that changes
	Colour  bool // whether the terminal may be told colours
}

const (
	bold  = "\x1b[1m"
	plain = "\x1b[0m"
	// onDark makes a QR code dark on light, whatever the terminal's colours are.
	onDark     = "\x1b[97;40m"
	eraseLine  = "\r\x1b[K"
	quietZone  = 2   // modules around a QR code
	maxQRBytes = 300 // a longer address makes a code that no screen has room for
)

func (s Screen) note(format string, args ...any) {
	fmt.Fprintf(s.Out, "Note: "+format+".\n", args...)
}

// skewed says that clocks differ: such a machine's idea of when a token ends is wrong.
func (s Screen) skewed(ahead time.Duration) {
	side := "ahead of"
	if ahead < 0 {
		side = "behind"
	}
	s.note("the clock of this machine is %s %s the provider's; set it right, or fresh tokens look expired or not valid yet here", ahead.Abs(), side)
}

// code shows where to go and what to enter there, and as a QR code on a terminal.
func (s Screen) code(address, complete, code string) {
	frame := strings.Repeat("─", utf8.RuneCountInString(code)+8)
	fmt.Fprintf(s.Out, "\nOpen this address in a browser, on any device:\n\n    %s\n\nand allow only the device that shows this code:\n\n", s.strong(address))
	fmt.Fprintf(s.Out, "    ┌%s┐\n    │    %s    │\n    └%s┘\n\n", frame, s.strong(code), frame)
	if complete == "" {
		complete = address
	}
	s.qr(complete)
}

func (s Screen) strong(text string) string {
	if !s.Colour {
		return text
	}
	return bold + text + plain
}

// qr draws a QR code where it has room. It is for cameras: what it says stands above it.
func (s Screen) qr(text string) {
	if s.Columns == 0 || len(text) > maxQRBytes {
		return
	}
	var drawn bytes.Buffer
	qrterminal.GenerateWithConfig(text, qrterminal.Config{Level: qrterminal.L, Writer: &drawn, HalfBlocks: true, QuietZone: quietZone})
	lines := strings.Split(strings.TrimRight(drawn.String(), "\n"), "\n")
	if utf8.RuneCountInString(lines[0])+4 > s.Columns {
		return
	}
	for _, line := range lines {
		if s.Colour {
			line = onDark + line + plain
		}
		fmt.Fprintf(s.Out, "    %s\n", line)
	}
	fmt.Fprintln(s.Out)
}

// waiting is the line with the time that is left.
type waiting struct {
	screen Screen
	until  time.Time
	stop   chan struct{}
	done   sync.WaitGroup

	mu      sync.Mutex
	trouble string // why the last poll had no answer; empty if it had one
}

// wait begins to show the time left. It is shown until end.
func (s Screen) wait(until time.Time) *waiting {
	w := &waiting{screen: s, until: until, stop: make(chan struct{})}
	if s.Columns == 0 {
		fmt.Fprintf(s.Out, "Waiting until %s; Ctrl-C ends it.\n", until.Local().Format(time.TimeOnly))
		return w
	}
	w.done.Go(w.run)
	return w
}

func (w *waiting) run() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		w.draw()
		select {
		case <-tick.C:
		case <-w.stop:
			fmt.Fprint(w.screen.Out, eraseLine)
			return
		}
	}
}

func (w *waiting) draw() {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := max(time.Until(w.until), 0).Round(time.Second)
	line := fmt.Sprintf("Waiting for you, %d:%02d left.", left/time.Minute, left%time.Minute/time.Second)
	if w.trouble != "" {
		line += " Trying again: " + w.trouble
	}
	// A line that wraps can't be erased.
	if runes := []rune(line); len(runes) >= w.screen.Columns {
		line = string(runes[:w.screen.Columns-1])
	}
	fmt.Fprint(w.screen.Out, eraseLine+line)
}

// fault says why a poll had no answer, once for the same reason; empty: it had one.
func (w *waiting) fault(reason string) {
	w.mu.Lock()
	news := reason != "" && reason != w.trouble
	w.trouble = reason
	w.mu.Unlock()
	if news && w.screen.Columns == 0 {
		w.screen.note("%s; it is tried again", reason)
	}
}

func (w *waiting) end() {
	close(w.stop)
	w.done.Wait()
}

package main

import (
	"io"
	"os"

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

package authz

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lineRoom is how many bytes of lines may wait for a slow reader.
	lineRoom = 4 << 20
	// lineBatch is how long lines wait for others to be written with them: to wake the
	// writer for each would cost more than to make it.
	lineBatch = 20 * time.Millisecond
)

// LineWriter writes lines in the background, such as audit events or a log: a reader
// that blocks, or a full disk, costs lines, which are counted, but never an answer.
type LineWriter struct {
	dropped atomic.Uint64
	wake    chan struct{} // has room for one: there is something to write, or the end
	done    chan struct{}

	mu      sync.Mutex
	pending []byte
	closed  bool
}

// NewLineWriter starts to write to w until Close. failed, if set, hears of the first of
// the errors in a row.
func NewLineWriter(w io.Writer, failed func(error)) *LineWriter {
	l := &LineWriter{wake: make(chan struct{}, 1), done: make(chan struct{})}
	if failed == nil {
		failed = func(error) {}
	}
	go l.run(w, failed)
	return l
}

// Dropped is the number of lines that were lost; none of a nil LineWriter.
func (l *LineWriter) Dropped() uint64 {
	if l == nil {
		return 0
	}
	return l.dropped.Load()
}

// Write takes whole lines, and never fails. Its lock is one for all processors: it is
// held only for as long as it takes to copy the lines.
func (l *LineWriter) Write(lines []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.pending) > lineRoom {
		l.dropped.Add(uint64(bytes.Count(lines, []byte{'\n'})))
		return len(lines), nil
	}
	if len(l.pending) == 0 {
		l.Wake()
	}
	l.pending = append(l.pending, lines...)
	return len(lines), nil
}

// Wake has the writer called soon, with nothing if nothing is pending.
func (l *LineWriter) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *LineWriter) run(w io.Writer, failed func(error)) {
	defer close(l.done)
	var batch []byte
	failing := false
	for range l.wake {
		if !l.isClosed() {
			time.Sleep(lineBatch)
		}
		var closed bool
		batch, closed = l.take(batch)
		if n, err := w.Write(batch); err != nil {
			l.dropped.Add(uint64(bytes.Count(batch[n:], []byte{'\n'})))
			if !failing {
				failed(err)
			}
			failing = true
		} else {
			failing = false
		}
		if closed {
			return
		}
	}
}

// take gives what is pending, and leaves the memory of the last batch for more.
func (l *LineWriter) take(last []byte) (batch []byte, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch, l.pending = l.pending, last[:0]
	return batch, l.closed
}

func (l *LineWriter) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Close writes what is pending and ends the writer, at the latest after the given time:
// a reader that blocks must not keep the process from ending.
func (l *LineWriter) Close(patience time.Duration) {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Wake()
	select {
	case <-l.done:
	case <-time.After(patience):
	}
}

package page

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"scopeward/authz/audit"
)

const (
	maxPages = 256                    // whose streams are open
	tick     = 100 * time.Millisecond // between two looks at what is new
	idle     = 15 * time.Second       // until a comment shows that the stream lives
	// patience is how long a page may not read; then its connection is closed.
	patience = 10 * time.Second
)

// stream sends decisions as Server-Sent Events (WHATWG HTML, section 9.2): decision, with
// an audit event, whose number is the id; missed, with how many decisions came faster than
// they could be sent; gap, where Scopeward was restarted; and at, with the number up to
// which there is no more.
type stream struct {
	recent   *audit.Recent
	open     chan struct{} // has a place for each page
	tick     time.Duration
	patience time.Duration
}

func newStream(recent *audit.Recent) *stream {
	return &stream{recent, make(chan struct{}, maxPages), tick, patience}
}

// ServeHTTP implements [http.Handler]. The query may have code, rule and text, of
// [audit.Filter], and after, the number of the last event that the page has.
func (s *stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case s.open <- struct{}{}:
		defer func() { <-s.open }()
	default:
		w.Header().Set("Retry-After", "10")
		http.Error(w, fmt.Sprintf("%d pages are open, and no more can be: close one, and open this again.", cap(s.open)), http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // a proxy must not wait for more
	q := r.URL.Query()
	// After a break of the connection the browser says what it has (Last-Event-ID).
	after, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil {
		after, _ = strconv.ParseUint(q.Get("after"), 10, 64)
	}
	s.send(r.Context(), http.NewResponseController(w), w, after, audit.Filter{Code: q.Get("code"), Rule: q.Get("rule"), Text: q.Get("text")})
}

// send goes on until the page is closed, or does not read.
func (s *stream) send(ctx context.Context, c *http.ResponseController, w http.ResponseWriter, after uint64, filter audit.Filter) {
	if c.SetReadDeadline(time.Time{}) != nil { // of the server, for a request
		return
	}
	ticker := time.NewTicker(s.tick)
	defer ticker.Stop()
	var out bytes.Buffer
	out.WriteString("retry: 2000\n\n")
	for sent := time.Now(); ; {
		batch := s.recent.Since(after, filter)
		if batch.Last != after {
			write(&out, batch)
		}
		after = batch.Last
		if out.Len() == 0 && time.Since(sent) > idle {
			out.WriteString(":\n\n")
		}
		if out.Len() > 0 {
			sent = time.Now()
			if c.SetWriteDeadline(sent.Add(s.patience)) != nil {
				return
			}
			if _, err := w.Write(out.Bytes()); err != nil || c.Flush() != nil {
				return
			}
			out.Reset()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func write(out *bytes.Buffer, b audit.Batch) {
	if b.Gap {
		out.WriteString("event: gap\ndata:\n\n")
	}
	if b.Missed > 0 {
		fmt.Fprintf(out, "event: missed\ndata: %d\n\n", b.Missed)
	}
	for _, e := range b.Events {
		fmt.Fprintf(out, "event: decision\nid: %d\ndata: %s\n\n", e.Number, e.JSON)
	}
	fmt.Fprintf(out, "event: at\nid: %d\ndata:\n\n", b.Last)
}

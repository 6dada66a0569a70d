package authz

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"scopeward/authz/token"
	"scopeward/policy"
)

// Event is what is known of one decision.
type Event struct {
	start   time.Time
	request request
	match   policy.Match
	result  token.Result
	verdict verdict
	shadow  string // what the shadow policy would answer; empty if the same
	reply   reply
}

// events keeps the memory of events that are over: the lists of headers are
// most of what a request allocates.
var events = sync.Pool{New: func() any { return new(Event) }}

func newEvent() *Event {
	e := events.Get().(*Event)
	e.start = time.Now()
	return e
}

// release gives the event back. Nothing of it may be used after.
func (e *Event) release() {
	attributes := e.request.attributes
	attributes.reset()
	*e = Event{request: request{attributes: attributes}}
	events.Put(e)
}

// auditLine is the audit event: one JSON line per decision. The first five
// fields are those of Kinde's guide; no field ever holds a token or a query.
type auditLine struct {
	Timestamp  string   `json:"timestamp"` // RFC 3339, UTC
	Action     string   `json:"action"`    // the rule's name or pattern
	Success    bool     `json:"success"`
	UserID     string   `json:"userId"`
	Scopes     []string `json:"scopes"`
	Code       string   `json:"code"`
	Rule       string   `json:"rule"` // file:line:column
	Method     string   `json:"method"`
	Host       string   `json:"host"`
	Path       string   `json:"path"`
	ClientIP   string   `json:"clientIp"`
	RequestID  string   `json:"requestId"`
	Provider   string   `json:"provider"`
	Cache      string   `json:"cache"` // hit, miss, none
	DurationMS float64  `json:"durationMs"`
	Reason     string   `json:"reason,omitempty"`  // why it was denied, or would have been
	WouldBe    string   `json:"wouldBe,omitempty"` // what a rule in audit mode would have answered
	Shadow     string   `json:"shadow,omitempty"`  // what the shadow policy would have answered
}

// action names what was asked for: the rule, or the request where none matched.
func (e *Event) action() string {
	if a := e.match.Action(); a != "" {
		return a
	}
	return e.request.Method + " " + e.path()
}

func (e *Event) path() string {
	if p := e.request.Path.String(); p != "" {
		return p
	}
	return e.request.rawPath()
}

func (e *Event) line(took time.Duration) auditLine {
	l := auditLine{
		Timestamp:  e.start.UTC().Format(time.RFC3339Nano),
		Action:     e.action(),
		Success:    e.verdict.code == codeAllow,
		Scopes:     []string{},
		Code:       e.verdict.code.String(),
		Method:     e.request.Method,
		Host:       e.request.Host,
		Path:       e.path(),
		ClientIP:   e.request.ClientIP,
		RequestID:  e.request.id,
		Provider:   e.result.Provider,
		Cache:      e.cache(),
		DurationMS: float64(took.Microseconds()) / 1000,
		Reason:     e.verdict.reason,
	}
	if e.verdict.wouldBe != 0 {
		l.WouldBe = e.verdict.wouldBe.String()
	}
	l.Shadow = e.shadow
	if rule := e.match.Rule(); rule != nil {
		l.Rule = rule.Pos.String()
	}
	if id := e.result.Identity; id != nil {
		l.UserID = id.Subject
		if id.Scopes != nil {
			l.Scopes = id.Scopes
		}
	}
	return l
}

func (e *Event) cache() string {
	if e.result.Cache == "" {
		return "none"
	}
	return e.result.Cache
}

// record writes the event to the audit and counts it.
func (s *Server) record(e *Event) {
	took := time.Since(e.start)
	s.metrics.decided(e, took)
	if e.verdict.err != nil {
		s.log.Error("a request was denied by a fault", slog.String("code", e.verdict.code.String()),
			slog.String("action", e.action()), slog.Any("error", e.verdict.err))
	}
	s.audit.write(e.line(took))
}

// auditQueue is how many events may wait for a slow reader of the audit.
const auditQueue = 8192

// AuditWriter writes events one line each, in the background: a reader that
// blocks costs events, which are counted, but never an answer.
type AuditWriter struct {
	queue   chan []byte
	done    chan struct{}
	mu      sync.RWMutex // guards closed against writes to a closed queue
	closed  bool
	dropped atomic.Uint64
}

// NewAuditWriter starts to write to w until Close.
func NewAuditWriter(w io.Writer, log *slog.Logger) *AuditWriter {
	a := &AuditWriter{queue: make(chan []byte, auditQueue), done: make(chan struct{})}
	go a.run(w, log)
	return a
}

// Dropped is the number of events that the queue had no room for.
func (a *AuditWriter) Dropped() uint64 { return a.dropped.Load() }

func (a *AuditWriter) write(l auditLine) {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		a.dropped.Add(1)
		return
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed {
		a.dropped.Add(1)
		return
	}
	select {
	case a.queue <- line.Bytes():
	default:
		a.dropped.Add(1)
	}
}

func (a *AuditWriter) run(w io.Writer, log *slog.Logger) {
	defer close(a.done)
	out := bufio.NewWriterSize(w, 64<<10)
	failing := false
	for line := range a.queue {
		_, err := out.Write(line)
		if err == nil && len(a.queue) == 0 {
			err = out.Flush()
		}
		if err != nil {
			a.dropped.Add(1)
			out.Reset(w) // a bufio.Writer keeps its first error
			if !failing {
				log.Error("audit events can't be written", slog.Any("error", err))
			}
		}
		failing = err != nil
	}
	if err := out.Flush(); err != nil && !failing {
		log.Error("audit events can't be written", slog.Any("error", err))
	}
}

// Close writes what is queued and ends the writer, at the latest after the
// given time: a reader that blocks must not keep the process from ending.
func (a *AuditWriter) Close(patience time.Duration) {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.queue)
	}
	a.mu.Unlock()
	select {
	case <-a.done:
	case <-time.After(patience):
	}
}

package authz

import (
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"scopeward/authz/audit"
	"scopeward/authz/credential"
	"scopeward/authz/token"
	"scopeward/authz/wire"
	"scopeward/policy"
)

// Event is what is known of one decision.
type Event struct {
	start      time.Time
	snapshot   *Snapshot
	caller     string // the traceparent of the call itself; see parent
	span       trace.Span
	request    request
	counted    bool // against the rate limit of every request
	match      policy.Match
	credential credential.Found
	result     token.Result
	bound      string          // what the token is bound to; see token.Binding
	nonce      string          // that the client needs for its next proof, if the request passes
	asks       policy.Identity // the result's, as rules see it
	verdict    verdict
	shadow     string // what the shadow policy would answer; empty if the same
	reply      wire.Response
	text       []byte // of the audit event
	traceID    string // of the span, or of its parent; empty without either
	leftOut    []leftOut
	vouched    *token.Note // the identity token that goes upstream
}

// events keeps the memory of events that are over: the lists of headers are
// most of what a request allocates.
var events = sync.Pool{New: func() any { return new(Event) }}

func newEvent(caller string) *Event {
	e := events.Get().(*Event)
	e.start, e.caller = time.Now(), caller
	return e
}

// release gives the event back. Nothing of it may be used after.
func (e *Event) release() {
	e.request.asked.Reset()
	e.reply.Reset()
	*e = Event{request: request{asked: e.request.asked}, reply: e.reply, text: e.text[:0]}
	events.Put(e)
}

// action names what was asked for: the rule, or the request where none matched.
func (e *Event) action() string {
	if a := e.match.Action(); a != "" {
		return a
	}
	return strings.TrimSpace(e.request.Method + " " + e.path())
}

func (e *Event) path() string {
	if p := e.request.Path.String(); p != "" {
		return p
	}
	return e.request.rawPath()
}

// line makes the audit event. It shares the event's memory.
func (e *Event) line(took time.Duration) audit.Event {
	l := audit.Event{
		Timestamp:  e.start.UTC(),
		Action:     e.action(),
		Success:    e.verdict.code == codeAllow || e.verdict.code == codeMetadata,
		Code:       e.verdict.code.String(),
		Method:     e.request.Method,
		Host:       e.request.Host,
		Path:       e.path(),
		ClientIP:   e.request.ClientIP,
		RequestID:  e.request.asked.ID,
		TraceID:    e.traceID,
		Provider:   e.result.Provider,
		Cache:      e.cache(),
		Binding:    e.bound,
		DurationMS: float64(took.Microseconds()) / 1000,
		Reason:     e.verdict.reason,
		Shadow:     e.shadow,
	}
	if e.verdict.wouldBe != 0 {
		l.WouldBe = e.verdict.wouldBe.String()
	}
	if l.ClientIP == "" {
		l.Peer = e.request.asked.Peer
	}
	if e.vouched != nil {
		l.IdentityToken = e.vouched.ID
	}
	if rule := e.match.Rule(); rule != nil {
		l.Rule = rule.Place()
	}
	if id := e.result.Identity; id != nil {
		l.UserID, l.Scopes = id.Subject, id.Scopes
	}
	return l
}

func (e *Event) cache() string {
	if e.result.Cache == "" {
		return "none"
	}
	return e.result.Cache
}

// Sampling is the share of the requests that were let through which get an audit
// event. Its zero value is all.
type Sampling struct {
	share float64
	less  bool // than all
}

// Sample makes the share, from 0 to 1.
func Sample(share float64) Sampling { return Sampling{share: share, less: share < 1} }

// sampled tells whether the event is recorded, and which share of those like it is,
// if not all are: only of requests that were let through and nothing else is to be
// told of.
func (e *Event) sampled(by Sampling) (share float64, recorded bool) {
	if !by.less || e.verdict.code != codeAllow || e.verdict.wouldBe != 0 || e.shadow != "" {
		return 0, true
	}
	return by.share, rand.Float64() < by.share
}

// told reports whether the log knows the fault already: that the client isn't known has
// been said once, with what to do about it.
func (e *Event) told() bool {
	return e.request.unsatisfied != satisfied && e.match.Uses("request.client_ip")
}

// record writes the event to the audit and counts it.
func (s *Server) record(e *Event) {
	sampling := e.snapshot.Sampling
	took := time.Since(e.start)
	s.metrics.decided(e, took)
	s.reportLeftOut(e)
	if e.verdict.err != nil && !e.told() {
		s.log.Error("a request was denied by a fault", slog.String("code", e.verdict.code.String()),
			slog.String("action", e.action()), slog.Any("error", e.verdict.err))
	}
	line := e.line(took)
	s.recent.Add(&line)
	if s.audit == nil {
		return
	}
	share, recorded := e.sampled(sampling)
	if !recorded {
		s.metrics.sampledOut.Inc()
		return
	}
	line.Sample = share
	e.text = line.Append(e.text[:0])
	_, _ = s.audit.Write(e.text)
}

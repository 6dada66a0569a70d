package authz

import (
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"scopeward/authz/token"
	"scopeward/policy"
)

// Event is what is known of one decision.
type Event struct {
	start   time.Time
	request request
	match   policy.Match
	result  token.Result
	asks    policy.Identity // the result's, as rules see it
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
	clear(e.reply.set)
	clear(e.reply.remove)
	*e = Event{request: request{attributes: attributes}, reply: reply{set: e.reply.set[:0], remove: e.reply.remove[:0]}}
	events.Put(e)
}

// auditLine is the audit event: one JSON line per decision. The first five
// fields are those of Kinde's guide; no field ever holds a token or a query.
type auditLine struct {
	Timestamp  time.Time `json:"timestamp"` // RFC 3339, UTC
	Action     string    `json:"action"`    // the rule's name or pattern
	Success    bool      `json:"success"`
	UserID     string    `json:"userId"`
	Scopes     []string  `json:"scopes"`
	Code       string    `json:"code"`
	Rule       string    `json:"rule"` // file:line:column
	Method     string    `json:"method"`
	Host       string    `json:"host"`
	Path       string    `json:"path"`
	ClientIP   string    `json:"clientIp"`
	RequestID  string    `json:"requestId"`
	Provider   string    `json:"provider"`
	Cache      string    `json:"cache"` // hit, miss, stale, none
	DurationMS float64   `json:"durationMs"`
	Reason     string    `json:"reason,omitempty"`  // why it was denied, or would have been
	WouldBe    string    `json:"wouldBe,omitempty"` // what a rule in audit mode would have answered
	Shadow     string    `json:"shadow,omitempty"`  // what the shadow policy would have answered
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
func (e *Event) line(took time.Duration) auditLine {
	l := auditLine{
		Timestamp:  e.start.UTC(),
		Action:     e.action(),
		Success:    e.verdict.code == codeAllow,
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
		Shadow:     e.shadow,
	}
	if e.verdict.wouldBe != 0 {
		l.WouldBe = e.verdict.wouldBe.String()
	}
	if rule := e.match.Rule(); rule != nil {
		l.Rule = rule.Place()
	}
	if id := e.result.Identity; id != nil {
		l.UserID, l.Scopes = id.Subject, id.Scopes
	}
	return l
}

// append writes the line as JSON, without reflection: it is written for every
// request.
func (l *auditLine) append(b []byte) []byte {
	b = append(b, `{"timestamp":"`...)
	b = l.Timestamp.AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	b = appendText(b, "action", l.Action)
	b = strconv.AppendBool(append(b, `,"success":`...), l.Success)
	b = appendText(b, "userId", l.UserID)
	b = append(b, `,"scopes":[`...)
	for i, scope := range l.Scopes {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, scope)
	}
	b = append(b, ']')
	b = appendText(b, "code", l.Code)
	b = appendText(b, "rule", l.Rule)
	b = appendText(b, "method", l.Method)
	b = appendText(b, "host", l.Host)
	b = appendText(b, "path", l.Path)
	b = appendText(b, "clientIp", l.ClientIP)
	b = appendText(b, "requestId", l.RequestID)
	b = appendText(b, "provider", l.Provider)
	b = appendText(b, "cache", l.Cache)
	b = strconv.AppendFloat(append(b, `,"durationMs":`...), l.DurationMS, 'f', -1, 64)
	for _, optional := range []struct{ name, value string }{{"reason", l.Reason}, {"wouldBe", l.WouldBe}, {"shadow", l.Shadow}} {
		if optional.value != "" {
			b = appendText(b, optional.name, optional.value)
		}
	}
	return append(b, '}', '\n')
}

func appendText(b []byte, name, value string) []byte {
	b = append(append(append(b, ',', '"'), name...), '"', ':')
	return appendQuoted(b, value)
}

func appendQuoted(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // what is not UTF-8 is replaced
	return b
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
	line := e.line(took)
	s.audit.audit(&line)
}

package authz

import (
	"scopeward/authz/wire"
	"scopeward/policy"
)

// Asked is a request whose answer is to be explained, as the client sent it.
type Asked struct {
	Method, Host, Path string            // the path raw, with its query
	Headers            map[string]string // by lower-case name
}

// Answer is what a client gets for a decision, for tools that explain one.
type Answer struct {
	Status  int           // 200 if the request goes upstream
	Body    string        // of a denial
	Headers []wire.Header // of a denial
}

// Header returns the value of a header, "" if there is none.
func (a Answer) Header(name string) string {
	for _, h := range a.Headers {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

// Answer gives what the client would get under this snapshot: for the decision of the
// rule that matched, or for err if it is not nil. It is built by the code that the server
// answers by.
func (s *Snapshot) Answer(asked Asked, match policy.Match, d policy.Decision, err error) Answer {
	e := &Event{match: match, verdict: judged(d)}
	e.request.asked = wire.Request{HTTP: true, Method: asked.Method, Host: asked.Host, Path: asked.Path}
	for name, value := range asked.Headers {
		e.request.asked.Headers = append(e.request.asked.Headers, wire.Header{Name: name, Value: value})
	}
	if refused := e.request.canonicalize(s.Hops, &s.Credentials); err == nil {
		err = refused
	}
	if err != nil {
		e.verdict = denied(err)
	}
	if e.verdict.code == codeAllow {
		return Answer{Status: 200}
	}
	s.deny(&e.reply, e)
	return Answer{Status: int(e.reply.Status), Body: e.reply.Body, Headers: e.reply.Set}
}

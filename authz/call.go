package authz

import "context"

// Call is a CheckRequest on its way, for a server that answers what it can at once and
// does only the rest in another goroutine. [Server.Begin] makes it.
type Call struct {
	server *Server
	event  *Event
}

// Begin reads a CheckRequest and goes its way until it would have to wait for anything.
// It reports whether the call is answered; if not, [Call.Wait] must be called. caller is
// the traceparent of the call itself, or "". ctx ends when the caller has given up.
//
// The error is that of a message which is no CheckRequest; then there is no call.
func (s *Server) Begin(ctx context.Context, message []byte, caller string) (c Call, answered bool, err error) {
	event := newEvent(caller)
	if err := event.request.asked.Unmarshal(string(message)); err != nil { // one string holds all others
		event.release()
		return Call{}, false, err
	}
	return Call{s, event}, s.begin(ctx, event), nil
}

// Wait goes the rest of the way. It returns when the call is answered; ctx may end
// before, and then the answer says so.
func (c Call) Wait(ctx context.Context) { c.server.resume(ctx, c.event) }

// Append appends the CheckResponse to b. Nothing of the call may be used after.
func (c Call) Append(b []byte) []byte {
	b = c.event.reply.Append(b)
	c.event.release()
	return b
}

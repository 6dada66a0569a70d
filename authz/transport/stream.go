package transport

import (
	"context"
	"time"

	"golang.org/x/net/http2"
)

// stream is a request and its answer. Its connection's mu guards it, but for what only
// the reading goroutine uses.
type stream struct {
	id     uint32
	opened time.Time

	// Of the reading goroutine.
	timeout  time.Duration // grpc-timeout; 0: none
	caller   string        // traceparent
	length   int64         // content-length, -1 without
	received int64
	room     int64  // what the peer may still send; mu guards that of body
	message  []byte // of a check: what came of it, if it did not come as one
	ended    bool   // the peer has said all

	window  int64  // what may be sent
	pending []byte // of the answer to a check: what waits for a window
	gone    bool   // it is not among the connection's streams any more
	working bool   // a goroutine works for it
	cancel  context.CancelFunc
	body    *body // of the other server; nil: a check
}

// newStream adds a stream to the connection.
func (c *conn) newStream(id uint32, h *head) *stream {
	var st *stream
	if n := len(c.free); n > 0 {
		st, c.free = c.free[n-1], c.free[:n-1]
		*st = stream{message: st.message[:0]}
	} else {
		st = &stream{}
	}
	st.id, st.opened, st.caller, st.length, st.room, st.window = id, c.lastRead, h.traceparent, h.length, streamRoom, c.initial
	c.streams[id] = st
	return st
}

// end takes a stream from the connection's: nothing more is read or written of it. What
// works for it is told to stop, and counted until it does.
func (c *conn) end(st *stream) {
	if st.gone {
		return
	}
	st.gone = true
	delete(c.streams, st.id)
	if st.body == nil {
		c.gathered -= len(st.message)
	}
	if st.cancel != nil {
		st.cancel()
	}
	st.pending = nil
	if st.body != nil {
		st.body.fail(errReset)
	}
	c.changed.Broadcast()
	c.leave()
}

// recycle keeps the memory of a stream that ended and for which nothing works.
func (c *conn) recycle(st *stream) {
	const most, largest = 64, 16 << 10
	if st.gone && st.body == nil && st.cancel == nil && len(c.free) < most && cap(st.message) <= largest {
		c.free = append(c.free, st)
	}
}

// reset ends a stream by an error; it may be one that ended already.
func (c *conn) reset(id uint32, code http2.ErrCode) {
	_ = c.output.framer.WriteRSTStream(id, code)
	if st := c.streams[id]; st != nil {
		c.end(st)
	}
}

// finish is called when our side of a stream is closed.
func (c *conn) finish(st *stream) {
	if !st.ended { // the answer does not depend on what is still to come
		_ = c.output.framer.WriteRSTStream(st.id, http2.ErrCodeNo)
	}
	c.end(st)
}

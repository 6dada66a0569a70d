package transport

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"sync"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"

	"scopeward/authz"
)

// prefixSize is that of what stands before a message: whether it is compressed, and its
// length (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
const prefixSize = 5

// isCheck reports whether a stream is a Check that this package serves itself.
func (c *conn) isCheck(h *head) (timeout time.Duration, ok bool) {
	if h.path != authv3.Authorization_Check_FullMethodName || h.method != "POST" || h.special {
		return 0, false
	}
	if h.contentType != "application/grpc" && h.contentType != "application/grpc+proto" {
		return 0, false
	}
	if h.timeout == "" {
		return 0, true
	}
	timeout, err := parseTimeout(h.timeout)
	return timeout, err == nil
}

// gather keeps a part of a message until the rest comes.
func (c *conn) gather(st *stream, data []byte, size int64) error {
	if c.gathered+len(data) > maxGathered {
		c.refuse(st, "200", codes.ResourceExhausted, "too many messages have begun and not ended")
		return nil
	}
	st.message = append(st.message, data...)
	c.gathered += len(data)
	if want, ok := messageSize(st.message); ok && want > c.server.opts.MaxMessage {
		c.refuseSize(st, want)
		return nil
	}
	c.giveRoom(st, size)
	return nil
}

// messageSize is the size of a message without its prefix, once the prefix is there.
func messageSize(b []byte) (int, bool) {
	if len(b) < prefixSize {
		return 0, false
	}
	return int(binary.BigEndian.Uint32(b[1:prefixSize])), true
}

func (c *conn) refuseSize(st *stream, size int) {
	c.refuse(st, "200", codes.ResourceExhausted, fmt.Sprintf("received message larger than max (%d vs. %d)", size, c.server.opts.MaxMessage))
}

// tooLarge answers a request whose header block is too large.
func (c *conn) tooLarge(st *stream) {
	c.refuse(st, "431", codes.ResourceExhausted, fmt.Sprintf("the metadata of the call are larger than %d bytes", c.head.limit))
}

// check answers a Check whose last data have come. It is called with mu held.
func (c *conn) check(st *stream, data []byte) {
	whole := data
	if len(st.message) > 0 {
		st.message = append(st.message, data...)
		c.gathered += len(data)
		whole = st.message
	}
	size, ok := messageSize(whole)
	switch {
	case !ok || len(whole) < prefixSize+size && size <= c.server.opts.MaxMessage:
		c.refuse(st, "200", codes.Internal, "the call ended before its message did")
		return
	case size > c.server.opts.MaxMessage:
		c.refuseSize(st, size)
		return
	case whole[0] != 0:
		c.refuse(st, "200", codes.Internal, "a message is compressed, and the call does not say by what (grpc-encoding)")
		return
	case len(whole) > prefixSize+size:
		c.refuse(st, "200", codes.Internal, "the call has more than one message")
		return
	}
	c.mu.Unlock()
	call, answered, err := c.server.opts.Checks.Begin(c.ctx, whole[prefixSize:], st.caller)
	if err == nil && answered {
		c.scratch = appendMessage(c.scratch[:0], call)
	}
	c.mu.Lock()
	c.gathered -= len(st.message)
	st.message = st.message[:0]
	switch {
	case err != nil:
		c.refuse(st, "200", codes.Internal, err.Error())
	case answered:
		c.tally.atOnce++
		c.answer(st, c.scratch)
		c.recycle(st)
	default:
		c.tally.waited++
		c.wait(st, call)
	}
}

// wait has a Check answered by another goroutine.
func (c *conn) wait(st *stream, call authz.Call) {
	ctx, cancel := c.ctx, context.CancelFunc(nil)
	if st.timeout > 0 {
		ctx, cancel = context.WithDeadline(ctx, st.opened.Add(st.timeout))
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	st.cancel = cancel
	c.work(st, func() {
		defer cancel()
		call.Wait(ctx)
		b := buffers.Get().(*[]byte)
		*b = appendMessage((*b)[:0], call)
		c.mu.Lock()
		c.answer(st, *b)
		c.mu.Unlock()
		buffers.Put(b)
	})
}

// work runs f for a stream in another goroutine, and counts it until it ends.
func (c *conn) work(st *stream, f func()) {
	st.working = true
	c.working++
	go func() {
		defer func() {
			c.mu.Lock()
			st.working = false
			c.working--
			c.changed.Broadcast()
			c.mu.Unlock()
			_ = c.flush(false)
		}()
		f()
	}()
}

// buffers are for answers of other goroutines than a connection's own.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// appendMessage appends the answer with its prefix.
func appendMessage(b []byte, call authz.Call) []byte {
	start := len(b)
	b = call.Append(append(b, 0, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(b[start+1:], uint32(len(b)-start-prefixSize))
	return b
}

func itoa(n int) string { return strconv.Itoa(n) }

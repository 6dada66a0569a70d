package transport

import (
	"time"

	"golang.org/x/net/http2"
)

const (
	openPatience   = 10 * time.Second // for the TLS handshake, the preface and the first settings
	watchTick      = 5 * time.Second
	quietPatience  = time.Minute      // before a peer that says nothing is asked whether it is there
	pingPatience   = 20 * time.Second // for it to say anything then
	writePatience  = 20 * time.Second // for a peer to read what is written to it
	blockPatience  = 10 * time.Second // for a header block
	streamPatience = time.Minute      // for a Check to come, and for its answer to be taken
	leavePatience  = 5 * time.Second  // for a peer to learn that the server ends
	closePatience  = 250 * time.Millisecond
)

var (
	leavePing = [8]byte{'l', 'e', 'a', 'v', 'e'}
	alivePing = [8]byte{'a', 'l', 'i', 'v', 'e'}
)

// look is called now and then: it ends what takes too long.
func (c *conn) look() {
	now := time.Now()
	c.mu.Lock()
	o := &c.output
	quiet := now.Sub(c.lastRead)
	switch {
	case c.failed || o.err != nil:
		c.mu.Unlock()
		return
	case !o.writing.IsZero() && now.Sub(o.writing) > writePatience,
		!c.inBlock.IsZero() && now.Sub(c.inBlock) > blockPatience,
		!c.pinged.IsZero() && now.Sub(c.pinged) > pingPatience:
		c.failed = true
		c.mu.Unlock()
		c.Conn.Close() // the reading goroutine ends by it
		return
	case c.pinged.IsZero() && quiet > quietPatience:
		c.pinged = now
		_ = o.framer.WritePing(false, alivePing)
	}
	for _, st := range c.streams {
		// One that is worked on has a bound of its own.
		if st.body == nil && !st.working && now.Sub(st.opened) > streamPatience {
			c.reset(st.id, http2.ErrCodeCancel)
		}
	}
	c.watch.Reset(watchTick)
	c.mu.Unlock()
	_ = c.flush(false)
}

// leaving is the end of a connection, in two steps: first the peer is told that no new
// streams are welcome, and then, when it must have heard of it, which were the last.
type leaving struct {
	begun bool // the first step was taken
	said  bool // the second was
}

// drain ends the connection when its streams have ended.
func (c *conn) drain() {
	c.mu.Lock()
	if c.leaving.begun || c.failed {
		c.mu.Unlock()
		return
	}
	c.leaving.begun = true
	_ = c.output.framer.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)
	_ = c.output.framer.WritePing(false, leavePing)
	time.AfterFunc(leavePatience, func() {
		c.mu.Lock()
		c.leaveFor(c.lastID)
		c.mu.Unlock()
		_ = c.flush(false)
	})
	c.mu.Unlock()
	_ = c.flush(false)
}

// leaveFor takes the second step.
func (c *conn) leaveFor(last uint32) {
	if !c.leaving.begun || c.leaving.said || c.failed || c.output.err != nil {
		return
	}
	c.leaving.said = true
	_ = c.output.framer.WriteGoAway(last, http2.ErrCodeNo, nil)
	c.leave()
}

// leave closes the connection if all that it was left for has ended.
func (c *conn) leave() {
	if c.leaving.said && len(c.streams) == 0 && !c.failed {
		c.failed = true
		go func() {
			_ = c.SetDeadline(time.Now().Add(writePatience))
			_ = c.flush(true)
			c.Conn.Close() // the reading goroutine ends by it
		}()
	}
}

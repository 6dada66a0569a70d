package transport

import (
	"time"

	"golang.org/x/net/http2"
)

// take does what a frame says. The error is a http2.StreamError or a
// http2.ConnectionError. Only the reading goroutine calls it.
func (c *conn) take(f http2.Frame) error {
	if !c.settled {
		if s, ok := f.(*http2.SettingsFrame); !ok || s.IsAck() {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		c.settled = true
		_ = c.SetDeadline(time.Time{})
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		return c.takeHeaders(f)
	case *http2.ContinuationFrame:
		return c.takeFragment(f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.DataFrame:
		return c.takeData(f)
	case *http2.WindowUpdateFrame:
		return c.takeWindowUpdate(f)
	case *http2.RSTStreamFrame:
		return c.takeReset(f)
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	case *http2.PingFrame:
		return c.takePing(f)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
		return c.spend(1)
	case *http2.GoAwayFrame: // the peer opens no more streams; those that are open are answered
		return c.spend(1)
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	default:
		return c.spend(1)
	}
}

// spend is for a frame that asks for nothing.
func (c *conn) spend(cost float64) error {
	if !c.allowed(cost) {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	return nil
}

// headerBlock is the block that is being read.
type headerBlock struct {
	id   uint32
	end  bool // of the stream
	size int  // bytes so far
	self bool // the stream depends on itself
}

func (c *conn) takeHeaders(f *http2.HeadersFrame) error {
	if f.StreamID%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.head.reset()
	c.block = headerBlock{id: f.StreamID, end: f.StreamEnded(), self: f.HasPriority() && f.Priority.StreamDep == f.StreamID}
	if !f.HeadersEnded() {
		c.mu.Lock()
		c.inBlock = c.lastRead
		c.mu.Unlock()
	}
	return c.takeFragment(f.HeaderBlockFragment(), f.HeadersEnded())
}

// takeFragment decodes a part of a header block. One that is too large is decoded as
// well, up to twice the limit: both sides must keep the same table.
func (c *conn) takeFragment(fragment []byte, last bool) error {
	c.block.size += len(fragment)
	if c.block.size > 2*c.head.limit {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	if _, err := c.decoder.Write(fragment); err != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	if !last {
		if len(fragment) == 0 {
			return c.spend(1)
		}
		return nil
	}
	if err := c.decoder.Close(); err != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inBlock = time.Time{}
	if st := c.streams[c.block.id]; st != nil {
		return c.takeTrailers(st)
	}
	return c.open()
}

// takeTrailers ends the peer's side of a stream. What they say is of no account.
func (c *conn) takeTrailers(st *stream) error {
	switch {
	case st.ended:
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeStreamClosed}
	case !c.block.end || c.head.malformed || c.head.hasPseudo() || c.head.tooLarge():
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	return c.takeEnd(st, nil)
}

// open begins a stream.
func (c *conn) open() error {
	id, h := c.block.id, &c.head
	if id <= c.lastID {
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	}
	c.lastID = id
	if c.block.self || !h.tooLarge() && !h.valid() {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	if c.leaving.said || max(len(c.streams), c.working) >= c.server.opts.MaxStreams {
		c.server.metrics.refused.Inc()
		_ = c.output.framer.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		return nil
	}
	st := c.newStream(id, h)
	switch timeout, ok := c.isCheck(h); {
	case h.tooLarge():
		st.ended = c.block.end
		c.tooLarge(st)
	case ok:
		st.timeout = timeout
	default:
		c.handle(st, h)
	}
	if c.block.end && !st.gone {
		return c.takeEnd(st, nil)
	}
	return nil
}

func (c *conn) takeData(f *http2.DataFrame) error {
	// Flow control counts padding, and data of streams that are gone.
	size := int64(f.Length)
	if c.room -= size; c.room < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.returned += size; c.returned >= connRoom/2 {
		_ = c.output.framer.WriteWindowUpdate(0, uint32(c.returned))
		c.room += c.returned
		c.returned = 0
	}
	st := c.streams[f.StreamID]
	if st == nil && f.StreamID > c.lastID {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if st == nil || st.ended {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
	}
	if st.room -= size; st.room < 0 {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeFlowControl}
	}
	data := f.Data()
	st.received += int64(len(data))
	if st.length >= 0 && st.received > st.length {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	if len(data) == 0 && !f.StreamEnded() {
		if err := c.spend(1); err != nil {
			return err
		}
	}
	if padding := size - int64(len(data)); padding > 0 && st.body != nil {
		c.giveRoom(st, padding)
	}
	if f.StreamEnded() {
		return c.takeEnd(st, data)
	}
	if st.body != nil {
		st.body.add(data)
		return nil
	}
	return c.gather(st, data, size)
}

// takeEnd ends the peer's side of a stream, with its last data.
func (c *conn) takeEnd(st *stream, data []byte) error {
	if st.length >= 0 && st.received != st.length {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	st.ended = true
	if st.body == nil {
		c.check(st, data)
		return nil
	}
	st.body.add(data)
	st.body.finish()
	return nil
}

// giveRoom lets the peer send more on a stream.
func (c *conn) giveRoom(st *stream, n int64) {
	if !st.ended && n > 0 {
		st.room += n
		_ = c.output.framer.WriteWindowUpdate(st.id, uint32(n))
	}
}

func (c *conn) takeReset(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID > c.lastID || f.StreamID%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	// A stream may have ended in the meantime; but there can't be more resets than streams.
	if c.resets++; c.resets > c.lastID/2+1 {
		return c.spend(1)
	}
	st := c.streams[f.StreamID]
	if st == nil {
		return nil
	}
	c.end(st)
	if st.body != nil { // each has cost more than it seems
		return c.spend(1)
	}
	return nil
}

func (c *conn) takeWindowUpdate(f *http2.WindowUpdateFrame) error {
	const largest = 1<<31 - 1
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > largest {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.unblock()
		return nil
	}
	st := c.streams[f.StreamID]
	if st == nil {
		if f.StreamID > c.lastID {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil // it has ended in the meantime
	}
	if st.window += int64(f.Increment); st.window > largest {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeFlowControl}
	}
	c.unblock()
	return nil
}

func (c *conn) takeSettings(f *http2.SettingsFrame) error {
	if err := c.spend(1 + float64(f.NumSettings())/8); err != nil || f.IsAck() {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := f.ForeachSetting(c.set); err != nil {
		return err
	}
	return c.output.framer.WriteSettingsAck()
}

func (c *conn) set(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingHeaderTableSize:
		c.output.resize(s.Val)
	case http2.SettingMaxFrameSize:
		c.frame = int(min(s.Val, maxFrame))
	case http2.SettingInitialWindowSize:
		change := int64(s.Val) - c.initial
		c.initial = int64(s.Val)
		for _, st := range c.streams {
			if st.window += change; st.window > 1<<31-1 {
				return http2.ConnectionError(http2.ErrCodeFlowControl)
			}
		}
		c.unblock()
	}
	return nil
}

// tooManyPings is what gRPC calls pings that come more often than the server allows
// (https://github.com/grpc/grpc/blob/master/doc/keepalive.md): its clients then ask less
// often.
const tooManyPings = "too_many_pings"

const (
	pingInterval = 5 * time.Second // between pings, unless something was answered meanwhile
	pingStrikes  = 2               // as many may come sooner
)

// pings are those of the peer.
type pings struct {
	last    time.Time
	blocks  uint32 // as many header blocks had been sent then
	strikes int
}

// tooMany takes note of a ping, and reports whether it is one too many. Clients ping to
// measure the network while they get answers; those pings are welcome.
func (p *pings) tooMany(now time.Time, blocks uint32) bool {
	if blocks != p.blocks {
		p.strikes = 0
	} else if now.Sub(p.last) < pingInterval {
		p.strikes++
	}
	p.last, p.blocks = now, blocks
	return p.strikes > pingStrikes
}

func (c *conn) takePing(f *http2.PingFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A busy client pings after each answer, to measure the network: that costs it an answer.
	if f.IsAck() || c.output.blocks == c.pings.blocks {
		if err := c.spend(1); err != nil {
			return err
		}
	}
	if !f.IsAck() && c.pings.tooMany(c.lastRead, c.output.blocks) {
		c.reason = tooManyPings
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	if f.IsAck() {
		if f.Data == leavePing {
			c.leaveFor(c.lastID)
		}
		return nil
	}
	return c.output.framer.WritePing(true, f.Data)
}

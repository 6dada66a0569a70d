package transport

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/credentials"
)

const (
	inputSize   = 16 << 10 // bytes that are read at once
	maxFrame    = 16 << 10 // bytes of a frame that is read
	streamRoom  = 65535    // what a peer may send on a stream before it is asked for more
	connRoom    = 1 << 20  // what a peer may send on a connection, as well
	maxGathered = 64 << 20 // bytes of messages that are not whole yet, of a connection
	tableSize   = 4096     // of header compression, both ways
)

// conn is a connection. The goroutine that reads it owns the first group of fields; mu
// guards the second.
type conn struct {
	net.Conn
	server *Server
	tls    *credentials.TLSInfo // nil: plaintext
	ctx    context.Context      // ends with the connection
	cancel context.CancelFunc

	input    *bufio.Reader
	framer   *http2.Framer
	decoder  *hpack.Decoder
	head     head
	block    headerBlock
	full     bool // the last read filled the buffer: there may be more
	settled  bool // the peer's first settings have come
	room     int64
	returned int64 // of what came, the peer has not been told yet that it may send as much again
	scratch  []byte
	idle     allowance
	pings    pings
	resets   uint32 // by the peer
	reason   string // of what fail tells the peer
	tally    tally
	free     []*stream // memory of streams that ended

	mu       sync.Mutex
	changed  sync.Cond // output was written, a window was opened, input came, or a stream ended
	streams  map[uint32]*stream
	lastID   uint32 // the highest that the peer has opened
	working  int    // goroutines that work for streams, also for those that are gone
	gathered int
	output   output
	window   int64     // what may be sent
	initial  int64     // what may be sent on a new stream
	frame    int       // what the peer takes in one frame
	blocked  []*stream // checks whose answer waits for a window, in order
	lastRead time.Time // when anything came last
	inBlock  time.Time // when a header block began that has not ended
	pinged   time.Time // when the peer was asked whether it is there, and has not said anything since
	leaving  leaving
	watch    *time.Timer
	failed   bool // it is being closed
}

func newConn(s *Server, secure net.Conn, info credentials.AuthInfo) *conn {
	c := &conn{
		Conn: secure, server: s, room: connRoom, streams: map[uint32]*stream{},
		window: 65535, initial: 65535, frame: 16 << 10, lastRead: time.Now(),
	}
	if t, ok := info.(credentials.TLSInfo); ok {
		c.tls = &t
	}
	c.ctx, c.cancel = context.WithCancel(context.WithValue(context.Background(), connKey{}, secure))
	c.changed.L = &c.mu
	c.input = bufio.NewReaderSize((*reader)(c), inputSize)
	c.framer = http2.NewFramer(nil, c.input)
	c.framer.SetMaxReadFrameSize(maxFrame)
	c.framer.SetReuseFrames()
	c.head.limit = s.opts.MaxHeader
	c.decoder = hpack.NewDecoder(tableSize, c.head.add)
	c.decoder.SetMaxStringLength(s.opts.MaxHeader)
	c.idle = allowance{left: idleBurst, at: c.lastRead}
	c.output.init()
	return c
}

type connKey struct{}

// Conn is the connection on which a request of Options.Other came, as
// Options.Credentials made it; nil for other contexts.
func Conn(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}

// run serves the connection until it ends.
func (c *conn) run() {
	defer c.close()
	defer func() {
		if p := recover(); p != nil {
			c.server.opts.Log.Error("a connection made the transport panic; it was closed, please report this",
				slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		}
	}()
	if !c.begin() {
		return
	}
	for {
		f, err := c.read()
		if err == nil {
			err = c.take(f)
		}
		if err != nil && !c.survives(err) {
			return
		}
	}
}

// read reads a frame.
func (c *conn) read() (http2.Frame, error) {
	head, err := c.framer.ReadFrameHeader()
	if err != nil {
		return nil, err
	}
	f, err := c.framer.ReadFrameForHeader(head)
	if e, ok := errors.AsType[http2.StreamError](err); ok && head.Type == http2.FrameHeaders {
		return nil, http2.ConnectionError(e.Code) // its block was not decoded: the tables differ from here on
	}
	return f, err
}

// begin reads the preface and sends the settings.
func (c *conn) begin() bool {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.input, preface); err != nil || string(preface) != http2.ClientPreface {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.output.framer.WriteSettings(
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.server.opts.MaxStreams)},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.server.opts.MaxHeader)},
	)
	_ = c.output.framer.WriteWindowUpdate(0, connRoom-65535)
	c.watch = time.AfterFunc(watchTick, c.look)
	return true
}

// survives handles an error of the reading goroutine, and reports whether the connection
// goes on.
func (c *conn) survives(err error) bool {
	if e, ok := errors.AsType[http2.StreamError](err); ok {
		c.mu.Lock()
		idle := e.StreamID > c.lastID
		c.mu.Unlock()
		switch {
		case idle:
			err = http2.ConnectionError(e.Code)
		case !c.allowed(1):
			err = http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
		default:
			c.mu.Lock()
			c.reset(e.StreamID, e.Code)
			c.mu.Unlock()
			return true
		}
	}
	if e, ok := errors.AsType[http2.ConnectionError](err); ok {
		c.fail(http2.ErrCode(e))
	} else if errors.Is(err, http2.ErrFrameTooLarge) {
		c.fail(http2.ErrCodeFrameSize)
	}
	return false
}

// reader is the connection as its own input: before it would wait for the peer, what was
// written goes out.
type reader conn

func (r *reader) Read(p []byte) (int, error) {
	c := (*conn)(r)
	c.server.metrics.add(&c.tally)
	if err := c.flush(true); err != nil {
		return 0, err
	}
	if c.full {
		runtime.Gosched() // others may have waited for long
	}
	n, err := c.Conn.Read(p)
	c.full = n == len(p)
	now := time.Now()
	c.mu.Lock()
	c.lastRead, c.pinged = now, time.Time{}
	c.mu.Unlock()
	return n, err
}

// fail ends the connection because of the peer's fault, and tells it why.
func (c *conn) fail(code http2.ErrCode) {
	c.server.metrics.failed(code)
	c.mu.Lock()
	_ = c.output.framer.WriteGoAway(c.lastID, code, []byte(c.reason))
	c.failed = true
	c.mu.Unlock()
	_ = c.SetDeadline(time.Now().Add(closePatience))
	if c.flush(true) != nil {
		return
	}
	// Input that nobody has read makes the system drop the GOAWAY.
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.CopyN(io.Discard, c.Conn, connRoom)
}

// close ends the connection and all that works for it.
func (c *conn) close() {
	c.cancel()
	c.Conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watch != nil {
		c.watch.Stop()
	}
	c.failed, c.output.err = true, net.ErrClosed
	for _, st := range c.streams {
		c.end(st)
	}
	c.blocked = nil
	c.changed.Broadcast()
	for c.working > 0 {
		c.changed.Wait()
	}
}

// allowance is for frames that ask for nothing.
type allowance struct {
	left float64
	at   time.Time
}

const (
	idleBurst = 1000
	idleRate  = 100 // a second
)

// allowed takes so much from the allowance, and reports whether it was there. Only the
// reading goroutine calls it.
func (c *conn) allowed(cost float64) bool {
	now := c.lastRead // which only this goroutine changes
	c.idle.left = min(idleBurst, c.idle.left+idleRate*now.Sub(c.idle.at).Seconds()) - cost
	c.idle.at = now
	return c.idle.left >= 0
}

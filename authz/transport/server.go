package transport

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"

	"scopeward/authz"
)

// Options configure a [Server].
type Options struct {
	Checks *authz.Server
	// Other serves all that is no plain Check, by HTTP/2. The context of its requests
	// has the connection; see [Conn].
	Other http.Handler
	// Credentials secure each connection.
	Credentials credentials.TransportCredentials
	Log         *slog.Logger
	Registerer  prometheus.Registerer

	MaxStreams int // at a time, of a connection
	MaxMessage int // bytes of a message
	MaxHeader  int // bytes of a header block, as RFC 9113 section 6.5.2 counts them
}

// Server serves connections. Make it with [New].
type Server struct {
	opts    Options
	metrics *metrics

	mu        sync.Mutex
	listeners map[net.Listener]bool
	conns     map[*conn]bool
	opening   map[net.Conn]bool // until the handshake is over
	draining  bool
	closed    bool
	working   sync.WaitGroup // connections
}

// New makes a server.
func New(o Options) *Server {
	s := &Server{opts: o, listeners: map[net.Listener]bool{}, conns: map[*conn]bool{}, opening: map[net.Conn]bool{}}
	s.metrics = newMetrics(o.Registerer, s)
	return s
}

// Serve takes connections until the listener fails, which is an error, or the server is
// told to end, which is none.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.draining || s.closed {
		s.mu.Unlock()
		l.Close()
		return nil
	}
	s.listeners[l] = true
	s.mu.Unlock()
	defer l.Close()
	for delay := time.Duration(0); ; {
		raw, err := l.Accept()
		if err == nil {
			delay = 0
			s.take(raw)
			continue
		}
		s.mu.Lock()
		ended := s.draining || s.closed
		s.mu.Unlock()
		if ended {
			return nil
		}
		var temporary interface{ Temporary() bool }
		if !errors.As(err, &temporary) || !temporary.Temporary() { // of no file descriptor, for example
			return err
		}
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		s.opts.Log.Warn("no connection could be taken; trying again", slog.Any("error", err), slog.Duration("after", delay))
		time.Sleep(delay)
	}
}

// take serves a connection in a goroutine.
func (s *Server) take(raw net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || s.closed {
		raw.Close()
		return
	}
	s.opening[raw] = true
	s.working.Go(func() { s.serve(raw) })
}

// serve is the life of a connection.
func (s *Server) serve(raw net.Conn) {
	_ = raw.SetDeadline(time.Now().Add(openPatience))
	secure, info, err := s.opts.Credentials.ServerHandshake(raw)
	s.mu.Lock()
	delete(s.opening, raw)
	if err != nil || s.draining || s.closed {
		s.mu.Unlock()
		if err == nil {
			secure.Close()
		}
		raw.Close()
		return
	}
	c := newConn(s, secure, info)
	s.conns[c] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	c.run()
}

// GracefulStop ends the server: it takes no more connections, tells the peers of those that are
// open, serves the streams that they have begun, and returns when none is left.
func (s *Server) GracefulStop() {
	s.stop(func(c *conn) { c.drain() }, &s.draining)
}

// Stop ends the server and all connections at once.
func (s *Server) Stop() {
	s.stop(func(c *conn) { c.close() }, &s.closed)
}

func (s *Server) stop(each func(*conn), state *bool) {
	s.mu.Lock()
	*state = true
	for l := range s.listeners {
		l.Close()
	}
	clear(s.listeners)
	for raw := range s.opening {
		raw.Close()
	}
	open := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		each(c)
	}
	s.working.Wait()
}

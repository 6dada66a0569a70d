package connlimit

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// pipes is a listener within the process: net.Pipe with addresses.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

type end struct {
	net.Conn
	addr net.Addr
}

func (e end) RemoteAddr() net.Addr { return e.addr }

// served accepts connections of a listener and reads from them until they are closed.
type served struct {
	*testing.T
	*Listener
	pipes pipes
	log   *bytes.Buffer
}

func serve(t *testing.T, max int) *served {
	s := &served{T: t, pipes: make(pipes), log: &bytes.Buffer{}}
	s.Listener = New(s.pipes, max, slog.New(slog.NewTextHandler(s.log, nil)))
	go func() {
		for {
			conn, err := s.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	t.Cleanup(func() { s.pipes.Close() })
	return s
}

// dial connects from an address; "" is a Unix socket.
func (s *served) dial(from string) net.Conn {
	s.Helper()
	client, server := net.Pipe()
	addr := net.Addr(&net.UnixAddr{Net: "unix"})
	if from != "" {
		addr = &net.TCPAddr{IP: net.ParseIP(from), Port: 4711}
	}
	s.pipes <- end{server, addr}
	synctest.Wait()
	s.Cleanup(func() { client.Close() })
	return client
}

// open reports whether a connection is open, by writing to it.
func open(conn net.Conn) bool {
	_, err := conn.Write([]byte("x"))
	return err == nil
}

func (s *served) want(what string, open, replaced int, limit, share int64) {
	s.Helper()
	if s.open != open || s.replaced.Load() != int64(replaced) || s.overLimit.Load() != limit || s.overShare.Load() != share {
		s.Errorf("%s: %d are open, %d replaced, %d refused by the limit and %d by the share; want %d, %d, %d, %d", what,
			s.open, s.replaced.Load(), s.overLimit.Load(), s.overShare.Load(), open, replaced, limit, share)
	}
}

// TestShare: one address has three quarters; what is more is refused while its others are
// in use, and takes the place of the one that was silent for longest otherwise.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 8)
		var greedy []net.Conn
		for range 6 {
			greedy = append(greedy, s.dial("10.0.0.1"))
		}
		s.want("three quarters", 6, 0, 0, 0)
		if open(s.dial("::ffff:10.0.0.1")) {
			t.Error("one more than the share is open")
		}
		s.want("one more", 6, 0, 0, 1)
		other := s.dial("10.0.0.2")
		s.want("another address", 7, 0, 0, 1)
		time.Sleep(2 * silence)
		if !open(greedy[0]) { // and speaks
			t.Error("the first was closed")
		}
		health := s.dial("10.0.0.1")
		if !open(health) || open(greedy[1]) == open(greedy[2]) && open(greedy[3]) == open(greedy[4]) && open(greedy[5]) {
			t.Error("none of the silent ones was replaced")
		}
		if !open(greedy[0]) || !open(other) {
			t.Error("one that is in use, or another's, was replaced")
		}
		s.want("one more, after silence", 7, 1, 0, 1)
		health.Close()
		other.Close()
		synctest.Wait()
		s.want("after two were closed", 5, 1, 0, 1)
		if n := strings.Count(s.log.String(), "too many connections"); n != 1 {
			t.Errorf("the log has %d lines:\n%s", n, s.log)
		}
	})
}

// TestLimit: where all are taken, the address that has most gives up a silent one.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 8)
		for range 6 {
			s.dial("10.0.0.1")
		}
		small := s.dial("10.0.0.2")
		s.dial("10.0.0.3")
		if open(s.dial("10.0.0.4")) {
			t.Error("one more than all is open")
		}
		s.want("one more", 8, 0, 1, 0)
		time.Sleep(silence)
		if !open(s.dial("10.0.0.4")) || !open(small) {
			t.Error("a new address is refused, or took the place of one that has few")
		}
		s.want("one more, after silence", 8, 1, 1, 0)
	})
}

// TestUnixSocket: connections without an address may have all.
func TestUnixSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 8)
		for range 8 {
			s.dial("")
		}
		s.want("all", 8, 0, 0, 0)
		time.Sleep(silence)
		if !open(s.dial("")) {
			t.Error("one more is refused")
		}
		s.want("one more, after silence", 8, 1, 0, 0)
	})
}

// TestFewest: with any limit, at least one address is served.
func TestFewest(t *testing.T) {
	for max := 1; max < 100; max++ {
		if share := Share(max); share < 1 || share > max || max > 3 && share == max {
			t.Errorf("of %d, one address may have %d", max, share)
		}
	}
}

// TestMetrics: they are by the conventions.
func TestMetrics(t *testing.T) {
	problems, err := testutil.CollectAndLint(New(nil, 8, slog.New(slog.DiscardHandler)))
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

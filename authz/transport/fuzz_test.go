package transport

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// script is a connection whose peer says what it has to say without waiting.
type script struct {
	io.Reader
	net.Conn
	said int
}

func (s *script) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s *script) Write(p []byte) (int, error) { s.said += len(p); return len(p), nil }
func (s *script) Close() error                { return nil }
func (s *script) SetDeadline(time.Time) error { return nil }
func (s *script) RemoteAddr() net.Addr        { return &net.TCPAddr{} }
func (s *script) LocalAddr() net.Addr         { return &net.TCPAddr{} }

// FuzzFrames: whatever a peer says after the preface, the connection ends in order, without
// a panic, and nothing is left of it.
func FuzzFrames(f *testing.F) {
	add := func(write func(p *peer)) {
		var b bytes.Buffer
		p := &peer{t: f, Framer: http2.NewFramer(&b, nil)}
		p.AllowIllegalWrites = true
		p.encoder = hpack.NewEncoder(&p.block)
		p.must(p.WriteSettings())
		write(p)
		f.Add(b.Bytes())
	}
	add(func(p *peer) { p.asks(1, get("/public", "")); p.asks(3, get("/users", "good")) })
	add(func(p *peer) {
		p.headers(1, false, checkHead(hpack.HeaderField{Name: ":path", Value: "/grpc.health.v1.Health/Check"})...)
		p.must(p.WriteDataPadded(1, true, make([]byte, 5), make([]byte, 7)))
		p.must(p.WriteWindowUpdate(0, 1))
		p.must(p.WritePing(false, [8]byte{}))
		p.must(p.WriteGoAway(0, 0, nil))
		p.must(p.WriteRSTStream(1, 8))
		p.must(p.WritePriority(3, http2.PriorityParam{}))
	})
	for name, attack := range attacks {
		if name != "HPACK bomb" {
			add(func(p *peer) {
				for round := range 3 {
					_ = attack(p, round)
				}
			})
		}
	}
	g := newGate()
	close(g.open)
	s := newServer(f, newChecks(f, g), insecure.NewCredentials())
	f.Fuzz(func(t *testing.T, frames []byte) {
		c := newConn(s, &script{Reader: io.MultiReader(bytes.NewReader([]byte(http2.ClientPreface)), bytes.NewReader(frames))}, nil)
		c.run()
		if c.working != 0 || len(c.streams) != 0 || c.gathered != 0 {
			t.Errorf("%d goroutines, %d streams and %d bytes are left", c.working, len(c.streams), c.gathered)
		}
		for len(g.arrived) > 0 {
			<-g.arrived
		}
	})
}

// FuzzCalls: the same calls, cut into the same frames, get the same answers of both
// servers.
func FuzzCalls(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 9, 2, 30, 2, 200, 3, 4, 3, 1, 1, 1})
	f.Add([]byte{5, 1, 255, 17, 6, 0, 0, 0, 7, 3, 3, 3})
	g := newGate()
	close(g.open)
	checks := newChecks(f, g)
	native, goServer := bufconn.Listen(1<<16), bufconn.Listen(1<<16)
	s, plain := newServer(f, checks, insecure.NewCredentials()), newGRPC(checks)
	go s.Serve(native)
	go plain.Serve(goServer)
	f.Cleanup(s.Stop)
	f.Cleanup(plain.Stop)
	f.Fuzz(func(t *testing.T, calls []byte) {
		want, got := calledOn(t, goServer, calls), calledOn(t, native, calls)
		if !slices.Equal(want, got) {
			t.Errorf("grpc-go answers %v, the transport %v", want, got)
		}
	})
}

// calledOn makes calls, each of four bytes, and gives what became of them.
func calledOn(t *testing.T, l *bufconn.Listener, calls []byte) (outcomes []string) {
	conn, err := l.DialContext(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	p := &peer{t: t, Conn: conn, Framer: http2.NewFramer(conn, conn), decoder: hpack.NewDecoder(4096, nil)}
	p.ReadMetaHeaders, p.AllowIllegalWrites = p.decoder, true
	p.encoder = hpack.NewEncoder(&p.block)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	p.must(p.WriteSettings())
	paths, tokens := []string{"/public", "/users", "/nowhere", "/%zz"}, []string{"", "good", "bad", "a b"}
	for id := uint32(1); len(calls) >= 4 && id < 20; id, calls = id+2, calls[4:] {
		in := message(t, get(paths[calls[0]&3], tokens[calls[0]>>2&3]))
		switch calls[0] >> 4 & 7 { // one in two is as it should be
		case 1:
			in = in[:len(in)-int(calls[1])%len(in)]
		case 2:
			in = append(in, calls[1])
		case 3:
			in[int(calls[1])%len(in)]++
		}
		block := p.encode(checkHead(hpack.HeaderField{Name: "x-" + string('a'+calls[1]%26), Value: "y"})...)
		cut := int(calls[3]) % len(block)
		p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:cut], PadLength: calls[1]}))
		p.must(p.WriteContinuation(id, true, block[cut:]))
		for size := 1 + int(calls[2]); len(in) > size; in = in[size:] {
			p.must(p.WriteDataPadded(id, false, in[:size], make([]byte, calls[1]%8)))
		}
		p.must(p.WriteData(id, true, in))
		o := p.until(func(o *outcome) bool { return o.streams[id] != nil && o.streams[id].ended })
		r := o.streams[id]
		if r == nil {
			return append(outcomes, "closed")
		}
		outcomes = append(outcomes, r.status+" "+r.grpc+" "+r.code())
	}
	return outcomes
}

package transport

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// TestRequests: what a call may look like on the wire, and what becomes of it, by both
// servers alike.
func TestRequests(t *testing.T) {
	check := message(t, get("/public", ""))
	field := func(name, value string) hpack.HeaderField { return hpack.HeaderField{Name: name, Value: value} }
	whole := func(p *peer, more ...hpack.HeaderField) {
		p.headers(1, false, checkHead(more...)...)
		p.must(p.WriteData(1, true, check))
	}
	for name, c := range map[string]struct {
		send    func(p *peer)
		want    string // the decision, or a gRPC status, or an HTTP status, or "reset"
		lenient string // of grpc-go, where it differs
	}{
		"as it should be":               {func(p *peer) { whole(p) }, "allow", ""},
		"content-type of proto":         {func(p *peer) { whole(p, field("content-type", "application/grpc+proto")) }, "allow", ""},
		"content-type with a parameter": {func(p *peer) { whole(p, field("content-type", "application/grpc;x=y")) }, "allow", ""},
		"content-type of none":          {func(p *peer) { whole(p, field("content-type", "text/plain")) }, "HTTP 415", ""},
		"binary metadata":               {func(p *peer) { whole(p, field("a-bin", "AAA")) }, "allow", ""},
		"binary metadata, broken":       {func(p *peer) { whole(p, field("a-bin", "%")) }, "HTTP 400", ""},
		"timeout":                       {func(p *peer) { whole(p, field("grpc-timeout", "5S")) }, "allow", ""},
		"timeout, longest":              {func(p *peer) { whole(p, field("grpc-timeout", "99999999H")) }, "allow", ""},
		"timeout, broken":               {func(p *peer) { whole(p, field("grpc-timeout", "5")) }, "HTTP 400", ""},
		"identity encoding":             {func(p *peer) { whole(p, field("grpc-encoding", "identity")) }, "allow", ""},
		"unknown encoding":              {func(p *peer) { whole(p, field("grpc-encoding", "nonsense")) }, "status 12", ""},
		"method GET":                    {func(p *peer) { whole(p, field(":method", "GET")) }, "HTTP 405", ""},
		"upper case":                    {func(p *peer) { whole(p, field("X-Upper", "1")) }, "reset", ""},
		"te":                            {func(p *peer) { whole(p, field("te", "gzip")) }, "reset", "allow"},
		"connection":                    {func(p *peer) { whole(p, field("connection", "close")) }, "reset", ""},
		"content-length":                {func(p *peer) { whole(p, field("content-length", itoa(len(check)))) }, "allow", ""},
		"content-length, wrong":         {func(p *peer) { whole(p, field("content-length", "1")) }, "reset", "allow"},
		"no message":                    {func(p *peer) { p.headers(1, true, checkHead()...) }, "status 13", ""},
		"part of a message": {func(p *peer) {
			p.headers(1, false, checkHead()...)
			p.must(p.WriteData(1, true, check[:len(check)-1]))
		}, "status 13", ""},
		"two messages": {func(p *peer) {
			p.headers(1, false, checkHead()...)
			p.must(p.WriteData(1, true, append(bytes.Clone(check), check...)))
		}, "status 13", ""},
		"no protobuf": {func(p *peer) {
			p.headers(1, false, checkHead()...)
			p.must(p.WriteData(1, true, []byte{0, 0, 0, 0, 1, 0xff}))
		}, "status 13", ""},
		"compressed by nothing": {func(p *peer) {
			p.headers(1, false, checkHead()...)
			p.must(p.WriteData(1, true, append([]byte{1}, check[1:]...)))
		}, "status 13", ""},
		"too large": {func(p *peer) {
			p.headers(1, false, checkHead()...)
			p.must(p.WriteData(1, false, []byte{0, 0xff, 0xff, 0xff, 0xff, 1}))
		}, "status 8", ""},
		"byte by byte, then trailers": {func(p *peer) {
			p.headers(1, false, checkHead()...)
			for i := range check {
				p.must(p.WriteData(1, false, check[i:i+1]))
			}
			p.headers(1, true, field("x", "y"))
		}, "allow", "nothing"},
		"padding, priority and continuations": {func(p *peer) {
			block := p.encode(checkHead(field("x", strings.Repeat("y", 100)))...)
			p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:3], PadLength: 9, Priority: http2.PriorityParam{StreamDep: 7, Weight: 3, Exclusive: true}}))
			p.must(p.WriteContinuation(1, false, block[3:9]))
			p.must(p.WriteContinuation(1, true, block[9:]))
			p.must(p.WriteDataPadded(1, false, check[:7], make([]byte, 200)))
			p.must(p.WriteRawFrame(0xfa, 0xff, 1, []byte("unknown")))
			p.must(p.WritePriority(1, http2.PriorityParam{StreamDep: 5}))
			p.must(p.WriteDataPadded(1, true, check[7:], make([]byte, 255)))
		}, "allow", ""},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, address string, g *gate) {
				p := connectRaw(t, address)
				c.send(p)
				o := p.await(1)
				r := o.streams[1]
				got := r.code()
				switch {
				case r == nil:
					got = "nothing"
				case r.reset != noReset && r.reset != http2.ErrCodeNo:
					got = "reset"
				case r.status != "200":
					got = "HTTP " + r.status
				case r.grpc != "0":
					got = "status " + r.grpc
				}
				want := c.want
				if c.lenient != "" && strings.HasSuffix(t.Name(), "/grpc-go") {
					want = c.lenient
				}
				if got != want {
					t.Errorf("got %s, want %s: %+v", got, want, r)
				}
				if o.closed {
					return
				}
				p.asks(3, get("/users", "")) // the connection goes on
				o = p.until(func(o *outcome) bool { return o.streams[3] != nil && o.streams[3].ended })
				if r := o.streams[3]; r.code() != "missing_token" {
					t.Errorf("the next call: %+v", r)
				}
			})
		})
	}
}

// TestFlowControl: answers go out as the windows allow, whatever the peer does to them.
func TestFlowControl(t *testing.T) {
	onBoth(t, func(t *testing.T, address string, g *gate) {
		p := connectRaw(t, address, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		for i := range uint32(5) {
			p.asks(2*i+1, get("/users", ""))
		}
		p.must(p.WritePing(false, [8]byte{}))
		o := p.until(func(o *outcome) bool { return o.pongs == 1 })
		for id, r := range o.streams {
			if len(r.data) > 0 {
				t.Fatalf("stream %d: data without a window", id)
			}
		}
		p.must(p.WriteWindowUpdate(5, 1000)) // whoever has a window is not held up by the others
		if r := p.await(1).streams[5]; r.code() != "missing_token" {
			t.Fatalf("stream 5: %+v", r)
		}
		p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10}))
		p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})) // negative now
		for _, id := range []uint32{1, 3} {
			for range 600 {
				p.must(p.WriteWindowUpdate(id, 1))
			}
		}
		p.must(p.WriteRSTStream(7, http2.ErrCodeCancel))
		p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535}))
		o = p.await(3)
		for _, id := range []uint32{1, 3, 9} {
			if o.streams[id] == nil || !o.streams[id].ended {
				t.Errorf("stream %d: %+v", id, o.streams[id])
			}
		}
	})
}

// TestTableSize: header compression follows the peer's table, however it changes.
func TestTableSize(t *testing.T) {
	onBoth(t, func(t *testing.T, address string, g *gate) {
		p := connectRaw(t, address)
		id := uint32(1)
		ask := func() {
			p.asks(id, get("/public", ""))
			o := p.await(1)
			if r := o.streams[id]; r.code() != "allow" || r.status != "200" || r.grpc != "0" {
				t.Fatalf("stream %d: %+v", id, r)
			}
			id += 2
		}
		for _, size := range []uint32{4096, 0, 4096, 60, 100, 1 << 20, 4096} {
			ask()
			ask()
			p.must(p.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: size}))
			p.decoder.SetAllowedMaxDynamicTableSize(size)
			ask()
			ask()
			ask()
		}
	})
}

// TestDrain: a connection ends in two steps: what comes before the second is answered, also
// what takes long.
func TestDrain(t *testing.T) {
	g := newGate()
	address, s := startNative(t, g)
	p := connectRaw(t, address)
	p.asks(1, get("/users", "slow"))
	<-g.arrived
	stopped := make(chan struct{})
	go func() {
		s.GracefulStop()
		close(stopped)
	}()
	var ping [8]byte
	for ping == [8]byte{} {
		f, err := p.ReadFrame()
		p.must(err)
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			if f.LastStreamID != 1<<31-1 || f.ErrCode != http2.ErrCodeNo {
				t.Errorf("the first GOAWAY: %v", f)
			}
		case *http2.PingFrame:
			ping = f.Data
		}
	}
	p.asks(3, get("/users", ""))
	p.must(p.WritePing(true, ping))
	p.asks(5, get("/users", ""))
	o := p.until(func(o *outcome) bool { return o.streams[5] != nil && o.streams[5].ended })
	if o.streams[3].code() != "missing_token" || o.streams[5].reset != http2.ErrCodeRefusedStream || o.goAway == nil {
		t.Fatalf("got %+v %+v, GOAWAY %v", o.streams[3], o.streams[5], o.goAway)
	}
	select {
	case <-stopped:
		t.Fatal("stopped before the last answer")
	default:
	}
	close(g.open)
	if o := p.until(func(*outcome) bool { return false }); o.streams[1].code() != "allow" || !o.closed {
		t.Errorf("got %+v", o.streams[1])
	}
	<-stopped
}

// TestPatience: what a peer begins and does not end is ended for it, and one that is gone
// is noticed.
func TestPatience(t *testing.T) {
	for name, c := range map[string]struct {
		send func(p *peer)
		want func(o *outcome) bool
		by   time.Duration
	}{
		"no preface": {nil, func(o *outcome) bool { return o.closed }, openPatience},
		"a header block": {func(p *peer) {
			block := p.encode(checkHead()...)
			p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:3]}))
		}, func(o *outcome) bool { return o.closed }, blockPatience + 2*watchTick},
		"a message": {func(p *peer) {
			p.headers(1, false, checkHead()...)
			p.must(p.WriteData(1, false, make([]byte, 3)))
		}, func(o *outcome) bool { return o.streams[1] != nil && o.streams[1].reset == http2.ErrCodeCancel }, streamPatience + 2*watchTick},
		"an answer that is not taken": {func(p *peer) {
			p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
			p.asks(1, get("/users", ""))
		}, func(o *outcome) bool { return o.streams[1] != nil && o.streams[1].reset == http2.ErrCodeCancel }, streamPatience + 2*watchTick},
		"silence": {func(p *peer) {}, func(o *outcome) bool { return o.closed }, quietPatience + pingPatience + 3*watchTick},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := bufconn.Listen(1 << 20)
				s := newServer(t, newChecks(t, newGate()), insecure.NewCredentials())
				go s.Serve(l)
				conn, err := l.DialContext(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				p := &peer{t: t, Conn: conn, Framer: http2.NewFramer(conn, conn), decoder: hpack.NewDecoder(4096, nil)}
				p.ReadMetaHeaders, p.AllowIllegalWrites = p.decoder, true
				p.encoder = hpack.NewEncoder(&p.block)
				if c.send != nil {
					_, err := conn.Write([]byte(http2.ClientPreface))
					p.must(err)
					p.must(p.WriteSettings())
					c.send(p)
				}
				o := p.until(c.want)
				if took := time.Since(start); !c.want(o) || took > c.by {
					t.Errorf("after %v: %+v", took, o)
				}
				s.Stop()
				conn.Close()
			})
		})
	}
}

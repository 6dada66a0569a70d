package transport

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

// peer is a client that writes the frames that a test wants.
type peer struct {
	t testing.TB
	net.Conn
	*http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	decoder *hpack.Decoder
}

// connectRaw opens a connection and exchanges settings.
func connectRaw(t testing.TB, address string, settings ...http2.Setting) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	p := &peer{t: t, Conn: conn, Framer: http2.NewFramer(conn, conn), decoder: hpack.NewDecoder(4096, nil)}
	p.encoder = hpack.NewEncoder(&p.block)
	p.AllowIllegalWrites = true
	p.ReadMetaHeaders = p.decoder
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	p.must(p.WriteSettings(settings...))
	return p
}

func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// checkHead is the head of a Check; more replaces fields of a name, or is added.
func checkHead(more ...hpack.HeaderField) []hpack.HeaderField {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"},
		{Name: ":path", Value: authv3.Authorization_Check_FullMethodName}, {Name: ":authority", Value: "scopeward"},
		{Name: "te", Value: "trailers"}, {Name: "content-type", Value: "application/grpc"},
	}
next:
	for _, f := range more {
		for i := range fields {
			if fields[i].Name == f.Name {
				fields[i] = f
				continue next
			}
		}
		fields = append(fields, f)
	}
	return fields
}

// encode makes a header block.
func (p *peer) encode(fields ...hpack.HeaderField) []byte {
	p.block.Reset()
	for _, f := range fields {
		p.must(p.encoder.WriteField(f))
	}
	return bytes.Clone(p.block.Bytes())
}

// headers writes the head of a stream.
func (p *peer) headers(id uint32, end bool, fields ...hpack.HeaderField) {
	p.t.Helper()
	p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(fields...), EndHeaders: true, EndStream: end}))
}

// message is a CheckRequest with its prefix.
func message(t testing.TB, in *authv3.CheckRequest) []byte {
	t.Helper()
	b, err := proto.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
}

// reply is what came of a stream.
type reply struct {
	status, grpc string
	data         []byte
	reset        http2.ErrCode // noReset: it ended well
	ended        bool
}

const noReset = http2.ErrCode(1 << 20)

// code is what was decided, "" if there is no answer.
func (r *reply) code() string {
	out := &authv3.CheckResponse{}
	if r == nil || len(r.data) < prefixSize || proto.Unmarshal(r.data[prefixSize:], out) != nil {
		return ""
	}
	return codeOf(out)
}

// outcome is what came until the connection or all streams ended.
type outcome struct {
	streams map[uint32]*reply
	goAway  *http2.ErrCode // of the last GOAWAY
	pongs   int
	closed  bool
}

// await reads until so many streams have ended, or the connection is over.
func (p *peer) await(streams int) *outcome {
	return p.until(func(o *outcome) bool {
		ended := 0
		for _, r := range o.streams {
			if r.ended {
				ended++
			}
		}
		return ended >= streams
	})
}

// until reads until enough has come, or the connection is over.
func (p *peer) until(enough func(*outcome) bool) *outcome {
	p.t.Helper()
	o := &outcome{streams: map[uint32]*reply{}}
	of := func(id uint32) *reply {
		if o.streams[id] == nil {
			o.streams[id] = &reply{reset: noReset}
		}
		return o.streams[id]
	}
	for !enough(o) {
		f, err := p.ReadFrame()
		if err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				p.t.Fatalf("nothing more comes: %+v", o)
			}
			o.closed = true
			return o
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			r := of(f.StreamID)
			for _, field := range f.Fields {
				switch field.Name {
				case ":status":
					r.status = field.Value
				case "grpc-status":
					r.grpc = field.Value
				}
			}
			r.ended = r.ended || f.StreamEnded()
		case *http2.DataFrame:
			r := of(f.StreamID)
			r.data = append(r.data, f.Data()...)
			r.ended = r.ended || f.StreamEnded()
		case *http2.RSTStreamFrame:
			r := of(f.StreamID)
			if !r.ended {
				r.reset, r.ended = f.ErrCode, true
			}
		case *http2.GoAwayFrame:
			code := f.ErrCode
			o.goAway = &code
		case *http2.PingFrame:
			if f.IsAck() {
				o.pongs++
			}
		case *http2.SettingsFrame:
			if !f.IsAck() {
				p.must(p.WriteSettingsAck())
			}
		}
	}
	return o
}

// asks sends a whole Check on a stream.
func (p *peer) asks(id uint32, in *authv3.CheckRequest) {
	p.t.Helper()
	p.headers(id, false, checkHead()...)
	p.must(p.WriteData(id, true, message(p.t, in)))
}

package transport

import (
	"bytes"
	"net"
	"slices"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

const (
	// highWater is how many bytes may wait to be written before nothing more is read.
	highWater = 64 << 10
	// keptOutput is how large a buffer stays with an idle connection.
	keptOutput = 16 << 10
)

// output is what is to be written. The connection's mu guards it.
type output struct {
	framer  *http2.Framer // appends to bytes
	bytes   []byte
	spare   []byte    // the memory of what was written last
	writing time.Time // since when somebody writes; zero: nobody
	err     error     // of the connection

	blocks   uint32 // header blocks so far
	block    bytes.Buffer
	encoder  *hpack.Encoder
	table    uint32
	headers  []byte // the blocks of each answer to a check, once both are in the table
	trailers []byte
}

func (o *output) init() {
	o.framer = http2.NewFramer(o, nil)
	o.encoder = hpack.NewEncoder(&o.block)
	o.table = tableSize
}

// Write is for the framer.
func (o *output) Write(p []byte) (int, error) {
	o.bytes = append(o.bytes, p...)
	return len(p), nil
}

// flush writes what there is. If somebody else writes already, they go on with it; then
// flush returns at once, or, if the caller must not go on before the peer reads, waits.
func (c *conn) flush(wait bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := &c.output
	for !o.writing.IsZero() && o.err == nil {
		if !wait || len(o.bytes) < highWater {
			return nil
		}
		c.changed.Wait()
	}
	for len(o.bytes) > 0 && o.err == nil {
		o.writing = time.Now()
		b := o.bytes
		o.bytes = o.spare[:0]
		c.mu.Unlock()
		_, err := c.Conn.Write(b)
		c.mu.Lock()
		if o.spare = b[:0]; cap(b) > keptOutput {
			o.spare = nil
		}
		o.writing = time.Time{}
		if err != nil && o.err == nil {
			o.err = net.ErrClosed
			c.Conn.Close() // the reading goroutine ends by it
		}
		c.changed.Broadcast()
	}
	return o.err
}

var (
	statusOK    = hpack.HeaderField{Name: ":status", Value: "200"}
	contentType = hpack.HeaderField{Name: "content-type", Value: "application/grpc"}
	grpcOK      = hpack.HeaderField{Name: "grpc-status", Value: "0"}
)

// encode makes a header block. Its fields are not kept in the table.
func (o *output) encode(fields ...hpack.HeaderField) []byte {
	o.block.Reset()
	for _, f := range fields {
		f.Sensitive = true
		_ = o.encoder.WriteField(f)
	}
	return o.block.Bytes()
}

// encodeKept makes a header block of fields that are kept in the table. Nothing else is, so
// that nothing is evicted from a table of the usual size.
func (o *output) encodeKept(fields ...hpack.HeaderField) []byte {
	o.block.Reset()
	for _, f := range fields {
		_ = o.encoder.WriteField(f)
	}
	return o.block.Bytes()
}

// resize follows the peer's SETTINGS_HEADER_TABLE_SIZE.
func (o *output) resize(size uint32) {
	if size = min(size, tableSize); size != o.table {
		o.table = size
		o.headers, o.trailers = nil, nil
		o.encoder.SetMaxDynamicTableSize(size)
	}
}

// sendHeaders begins the answer to a check.
func (c *conn) sendHeaders(st *stream) {
	o := &c.output
	block := o.headers
	switch {
	case block != nil:
	case o.table < tableSize:
		block = o.encode(statusOK, contentType)
	default:
		block = o.encodeKept(statusOK, contentType)
	}
	c.writeBlock(st.id, block, false)
}

// sendTrailers ends the answer to a check.
func (c *conn) sendTrailers(st *stream) {
	o := &c.output
	switch {
	case o.trailers != nil:
		c.writeBlock(st.id, o.trailers, true)
	case o.table < tableSize:
		c.writeBlock(st.id, o.encode(grpcOK), true)
	default:
		c.writeBlock(st.id, o.encodeKept(grpcOK), true)
		// Both are in the table now: their blocks stay the same from here on.
		o.headers = slices.Clone(o.encodeKept(statusOK, contentType))
		o.trailers = slices.Clone(o.encodeKept(grpcOK))
	}
	c.finish(st)
}

// writeBlock writes a header block, in as many frames as it needs.
func (c *conn) writeBlock(id uint32, block []byte, end bool) {
	c.output.blocks++
	for first := true; first || len(block) > 0; first = false {
		part := block[:min(len(block), c.frame)]
		block = block[len(part):]
		if first {
			_ = c.output.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: part, EndStream: end, EndHeaders: len(block) == 0})
		} else {
			_ = c.output.framer.WriteContinuation(id, len(block) == 0, part)
		}
	}
}

// writeData writes as much of the data as the windows allow, and returns the rest.
func (c *conn) writeData(st *stream, data []byte) (rest []byte) {
	for len(data) > 0 {
		n := min(int64(len(data)), int64(c.frame), c.window, st.window)
		if n <= 0 {
			break
		}
		_ = c.output.framer.WriteData(st.id, false, data[:n])
		c.window -= n
		st.window -= n
		data = data[n:]
	}
	return data
}

// answer sends the answer to a check: a message with its prefix.
func (c *conn) answer(st *stream, message []byte) {
	if st.gone {
		return
	}
	c.sendHeaders(st)
	if rest := c.writeData(st, message); len(rest) > 0 {
		st.pending = slices.Clone(rest)
		c.blocked = append(c.blocked, st)
		return
	}
	c.sendTrailers(st)
}

// unblock goes on with answers that have waited for a window.
func (c *conn) unblock() {
	c.changed.Broadcast()
	waiting := c.blocked
	c.blocked = c.blocked[:0]
	for _, st := range waiting {
		if st.gone {
			continue
		}
		if st.pending = c.writeData(st, st.pending); len(st.pending) > 0 {
			c.blocked = append(c.blocked, st)
			continue
		}
		c.sendTrailers(st)
	}
	clear(waiting[len(c.blocked):])
}

// refuse answers a call by a status, without a message.
func (c *conn) refuse(st *stream, httpStatus string, code codes.Code, message string) {
	if st.gone {
		return
	}
	c.writeBlock(st.id, c.output.encode(
		hpack.HeaderField{Name: ":status", Value: httpStatus}, contentType,
		hpack.HeaderField{Name: "grpc-status", Value: itoa(int(code))},
		hpack.HeaderField{Name: "grpc-message", Value: message},
	), true)
	c.finish(st)
}

package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

var errReset = errors.New("the stream was reset")

// body is what the peer sends on a stream of the other server, until it is read. The
// connection's mu guards it; a stream's window bounds it.
type body struct {
	conn   *conn
	stream *stream
	bytes  []byte
	read   int64 // and not yet given back
	err    error // once all bytes are read
}

func (b *body) add(data []byte) {
	if b.err == nil {
		b.bytes = append(b.bytes, data...)
		b.conn.changed.Broadcast()
	}
}

func (b *body) finish() { b.fail(io.EOF) }

func (b *body) fail(err error) {
	if b.err == nil {
		b.err = err
		b.conn.changed.Broadcast()
	}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	c := b.conn
	c.mu.Lock()
	for len(b.bytes) == 0 && b.err == nil {
		c.changed.Wait()
	}
	n := copy(p, b.bytes)
	b.bytes = b.bytes[n:]
	err := error(nil)
	if n == 0 {
		err = b.err
	}
	if b.read += int64(n); b.read >= streamRoom/2 && !b.stream.gone {
		c.giveRoom(b.stream, b.read)
		b.read = 0
	}
	c.mu.Unlock()
	_ = c.flush(false)
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.conn.mu.Lock()
	defer b.conn.mu.Unlock()
	b.bytes = nil
	b.fail(http.ErrBodyReadAfterClose)
	return nil
}

// handle has a stream served by the other server. It is called with mu held.
func (c *conn) handle(st *stream, h *head) {
	st.body = &body{conn: c, stream: st}
	ctx, cancel := context.WithCancel(context.WithValue(c.ctx, http.LocalAddrContextKey, c.LocalAddr()))
	st.cancel = cancel
	req := c.request(ctx, st, h)
	c.server.metrics.other.Inc()
	c.work(st, func() {
		defer cancel()
		w := &response{conn: c, stream: st, header: http.Header{}}
		defer w.finish()
		if c.server.opts.Other == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		c.server.opts.Other.ServeHTTP(w, req)
	})
}

// request is the head as an http.Request.
func (c *conn) request(ctx context.Context, st *stream, h *head) *http.Request {
	header := make(http.Header, len(h.fields))
	var cookies []string
	for _, f := range h.fields {
		if f.Name == "cookie" {
			cookies = append(cookies, f.Value)
			continue
		}
		name := http.CanonicalHeaderKey(f.Name)
		header[name] = append(header[name], f.Value)
	}
	if len(cookies) > 0 {
		header["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	address, err := url.ParseRequestURI(h.path)
	if err != nil {
		address = &url.URL{Path: h.path}
	}
	host := h.authority
	if host == "" {
		host = header.Get("Host")
	}
	delete(header, "Host")
	var state *tls.ConnectionState
	if c.tls != nil {
		state = &c.tls.State
	}
	req := &http.Request{
		Method: h.method, URL: address, RequestURI: h.path, Host: host, Header: header,
		Proto: "HTTP/2.0", ProtoMajor: 2, ContentLength: h.length,
		Body: st.body, RemoteAddr: remoteAddr(c.Conn), TLS: state,
	}
	return req.WithContext(ctx)
}

func remoteAddr(c net.Conn) string {
	if a := c.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// response is the http.ResponseWriter of a stream.
type response struct {
	conn   *conn
	stream *stream
	header http.Header
	sent   bool // the header
	status int
	bytes  []byte
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.bytes = append(w.bytes, b...)
	if len(w.bytes) < maxFrame {
		return len(b), nil
	}
	return len(b), w.FlushError()
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError sends what was written, when the windows allow it.
func (w *response) FlushError() error {
	w.WriteHeader(http.StatusOK)
	c, st := w.conn, w.stream
	c.mu.Lock()
	defer c.mu.Unlock()
	if !w.sent && !st.gone {
		w.sent = true
		c.writeBlock(st.id, c.output.encode(w.fields()...), false)
	}
	for first := true; (first || len(w.bytes) > 0) && !st.gone; first = false {
		w.bytes = c.writeData(st, w.bytes)
		c.mu.Unlock()
		err := c.flush(true)
		c.mu.Lock()
		if err != nil {
			break
		}
		for len(w.bytes) > 0 && !st.gone && min(st.window, c.window) <= 0 {
			c.changed.Wait()
		}
	}
	w.bytes = w.bytes[:0]
	if st.gone {
		return errReset
	}
	return c.output.err
}

// fields are the header, without trailers.
func (w *response) fields() []hpack.HeaderField {
	fields := []hpack.HeaderField{{Name: ":status", Value: itoa(w.status)}}
	trailers := w.announced()
	for name, values := range w.header {
		if trailers[name] || strings.HasPrefix(name, http.TrailerPrefix) || name == "Trailer" {
			continue
		}
		fields = appendFields(fields, name, values)
	}
	return fields
}

// announced are the names of the trailers that the header announces.
func (w *response) announced() map[string]bool {
	names := map[string]bool{}
	for _, value := range w.header["Trailer"] {
		for name := range strings.SplitSeq(value, ",") {
			names[http.CanonicalHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	return names
}

// appendFields adds the values of a header, if they can be sent.
func appendFields(fields []hpack.HeaderField, name string, values []string) []hpack.HeaderField {
	name = strings.ToLower(name)
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return fields
	}
	for _, value := range values {
		fields = append(fields, hpack.HeaderField{Name: name, Value: value})
	}
	return fields
}

// finish ends the stream when the handler has returned, or panicked.
func (w *response) finish() {
	c, st := w.conn, w.stream
	if p := recover(); p != nil {
		c.server.opts.Log.Error("a call made the service panic", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		c.mu.Lock()
		defer c.mu.Unlock()
		if !st.gone {
			c.reset(st.id, http2.ErrCodeInternal)
		}
		return
	}
	if w.FlushError() != nil {
		return
	}
	var trailers []hpack.HeaderField
	announced := w.announced()
	for name, values := range w.header {
		if rest, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			trailers = appendFields(trailers, rest, values)
		} else if announced[name] {
			trailers = appendFields(trailers, name, values)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case st.gone:
		return
	case len(trailers) > 0:
		c.writeBlock(st.id, c.output.encode(trailers...), true)
	default:
		_ = c.output.framer.WriteData(st.id, true, nil)
	}
	c.finish(st)
}

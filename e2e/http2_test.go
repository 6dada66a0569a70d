package e2e

import (
	"bytes"
	"encoding/hex"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// askHTTP2 sends a GET by HTTP/2 with a path of any bytes, whose hexadecimal form is the step, and
// returns the status of the answer.
func askHTTP2(t *testing.T, address, path, token string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	headers := [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "api.example.com"}, {":path", path}, {strings.ToLower(stepHeader), hex.EncodeToString([]byte(path))}}
	if token != "" {
		headers = append(headers, [2]string{"authorization", "Bearer " + token})
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, h := range headers {
		if err := encoder.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("no answer to %q: %v", path, err)
		}
		if answer, ok := frame.(*http2.MetaHeadersFrame); ok {
			return answer.PseudoValue("status")
		}
	}
}

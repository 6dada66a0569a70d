package serve

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"scopeward/internal/connlimit"
	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// limitedService serves gRPC at an address as serve does.
func limitedService(t *testing.T) string {
	t.Helper()
	idp := tokentest.New(t)
	s, _ := startService(t, corpus.Configure(t, t.TempDir(), "jwks", idp, nil, map[string]string{"policy.yaml": "version: 1\nrules:\n  - match: /users\n"}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := s.newFront(grpcOptions{}, newHealthService())
	go g.Serve(s.limitConnections(listener))
	t.Cleanup(g.Stop)
	return listener.Addr().String()
}

// TestMessageSize: a message that is too long is refused unread; one with a token of 100 kB
// is answered like any other that is invalid. The connection goes on.
func TestMessageSize(t *testing.T) {
	t.Parallel()
	conn, err := grpc.NewClient(limitedService(t), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := authv3.NewAuthorizationClient(conn)
	ask := func(token string) (int32, error) {
		response, err := client.Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
			Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Host: "h", Path: "/users", Headers: map[string]string{"authorization": "Bearer " + token}},
		}}})
		return int32(response.GetDeniedResponse().GetStatus().GetCode()), err
	}
	if _, err := ask(strings.Repeat("x", maxMessage)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message of more than %d bytes: %v", maxMessage, err)
	}
	if got, err := ask(strings.Repeat("x", 100_000)); got != 401 || err != nil {
		t.Errorf("a token of 100 kB got %d, %v", got, err)
	}
}

// framed is an HTTP/2 connection, with the server's first settings.
type framed struct {
	net.Conn
	*http2.Framer
	streams uint32
}

// frame connects, and reads the server's settings; it fails if they don't come in time.
func frame(address string, patience time.Duration) (*framed, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	f := &framed{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	if _, err := io.Copy(conn, bytes.NewBufferString(http2.ClientPreface)); err != nil {
		return f, err
	}
	if err := errors.Join(f.WriteSettings(), conn.SetReadDeadline(time.Now().Add(patience))); err != nil {
		return f, err
	}
	first, err := f.ReadFrame()
	if err != nil {
		return f, err
	}
	settings, ok := first.(*http2.SettingsFrame)
	if !ok {
		return f, errors.New("the first frame is no SETTINGS")
	}
	f.streams, _ = settings.Value(http2.SettingMaxConcurrentStreams)
	return f, conn.SetReadDeadline(time.Now().Add(20 * time.Second))
}

// TestStreamsAndPings: a client is told how many streams it may have, and one that pings
// all the time is sent away.
func TestStreamsAndPings(t *testing.T) {
	t.Parallel()
	conn, err := frame(limitedService(t), 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.streams != maxStreams {
		t.Errorf("%d streams at a time", conn.streams)
	}
	for i := range byte(10) {
		if conn.WritePing(false, [8]byte{i}) != nil {
			break
		}
	}
	for {
		f, err := conn.ReadFrame()
		if err != nil {
			t.Fatalf("it is not sent away: %v", err)
		}
		if away, ok := f.(*http2.GoAwayFrame); ok {
			if away.ErrCode != http2.ErrCodeEnhanceYourCalm || string(away.DebugData()) != "too_many_pings" {
				t.Errorf("%v %q", away.ErrCode, away.DebugData())
			}
			return
		}
	}
}

// TestIdleConnections: who asks for the health, or is another Envoy, gets an answer however
// many idle connections there are; and so does a new one of the same address.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	address := limitedService(t)
	var idle []*framed
	defer func() {
		for _, conn := range idle {
			conn.Close()
		}
	}()
	for range 1024 {
		conn, err := frame(address, 20*time.Second)
		if conn != nil {
			idle = append(idle, conn)
		}
		if err != nil && len(idle) <= connlimit.Share(1024) {
			t.Fatalf("after %d connections: %v", len(idle), err)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := frame(address, 20*time.Second)
		if conn != nil {
			idle = append(idle, conn)
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a new connection is not served: %v", err)
		}
	}
}

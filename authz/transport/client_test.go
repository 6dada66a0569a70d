package transport

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
)

// TestClient: grpc-go's client gets the same of both servers.
func TestClient(t *testing.T) {
	onBoth(t, func(t *testing.T, address string, g *gate) {
		conn := dial(t, address)
		client := authv3.NewAuthorizationClient(conn)
		ctx := timely(t)
		for _, c := range []struct{ path, token, want string }{
			{"/public", "", "allow"}, {"/users", "", "missing_token"}, {"/users", "good", "allow"}, {"/users", "good", "allow"},
			{"/users", "bad", "invalid_token"}, {"/users", "bad", "invalid_token"}, {"/nowhere", "good", "access_denied"}, {"/%zz", "", "invalid_path"},
		} {
			r, err := client.Check(ctx, get(c.path, c.token))
			if err != nil || codeOf(r) != c.want {
				t.Errorf("%s %s: got %s, %v; want %s", c.path, c.token, codeOf(r), err, c.want)
			}
		}
		// Compressed messages, binary metadata, and what is much larger than a window.
		for name, options := range map[string][]grpc.CallOption{"compressed": {grpc.UseCompressor(gzip.Name)}, "plain": nil} {
			in := get("/users", "good")
			in.Attributes.Request.Http.Body = strings.Repeat("x", maxMessage/2)
			r, err := client.Check(metadata.AppendToOutgoingContext(ctx, "x-bin", "\x00\xff"), in, options...)
			if err != nil || codeOf(r) != "allow" {
				t.Errorf("%s: got %s, %v", name, codeOf(r), err)
			}
			if r, err = client.Check(ctx, in, options...); err != nil || codeOf(r) != "allow" {
				t.Errorf("%s without metadata: got %s, %v", name, codeOf(r), err)
			}
		}
		in := get("/users", "good")
		in.Attributes.Request.Http.Body = strings.Repeat("x", maxMessage)
		if _, err := client.Check(ctx, in); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("a message that is too large: %v", err)
		}
		if r, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{}); err != nil || r.Status != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("health: %v, %v", r, err)
		}
		if err := conn.Invoke(ctx, "/no.Such/Method", &healthv1.HealthCheckRequest{}, &healthv1.HealthCheckResponse{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("an unknown method: %v", err)
		}
		reflected(t, conn)
	})
}

// reflected asks for the services by a stream.
func reflected(t *testing.T, conn *grpc.ClientConn) {
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(timely(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
			t.Fatal(err)
		}
		r, err := stream.Recv()
		if err != nil || len(r.GetListServicesResponse().GetService()) < 2 {
			t.Fatalf("reflection: %v, %v", r, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("the end of reflection: %v", err)
	}
}

// TestConcurrent: each of many concurrent calls of some connections gets its own answer.
func TestConcurrent(t *testing.T) {
	onBoth(t, func(t *testing.T, address string, g *gate) {
		var wg sync.WaitGroup
		ctx := timely(t)
		for i := range 4 {
			client := authv3.NewAuthorizationClient(dial(t, address))
			for j := range 32 {
				wg.Go(func() {
					for k := range 15 {
						in, want := get("/users", fmt.Sprintf("good-%d-%d-%d", i, j, k%6)), "allow"
						switch k % 3 {
						case 1:
							in, want = get("/users", fmt.Sprintf("bad-%d-%d-%d", i, j, k)), "invalid_token"
						case 2:
							in, want = get("/public", ""), "allow"
							in.Attributes.Request.Http.Body = strings.Repeat("x", 1000*k)
						}
						if r, err := client.Check(ctx, in); err != nil || codeOf(r) != want {
							t.Errorf("got %s, %v; want %s", codeOf(r), err, want)
							return
						}
					}
				})
			}
		}
		wg.Wait()
	})
}

// TestSlowDelaysNobody: while tokens are verified, others on the connection are answered;
// and who gives up, or has no more time, ends the wait.
func TestSlowDelaysNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, address string, g *gate) {
		client := authv3.NewAuthorizationClient(dial(t, address))
		ctx := timely(t)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if r, err := client.Check(ctx, get("/users", fmt.Sprint("slow", i))); err != nil || codeOf(r) != "allow" {
					t.Errorf("got %s, %v", codeOf(r), err)
				}
			})
			<-g.arrived
		}
		for range 100 {
			if r, err := client.Check(ctx, get("/public", "")); err != nil || codeOf(r) != "allow" {
				t.Fatalf("got %s, %v", codeOf(r), err)
			}
		}
		left, leave := context.WithCancel(ctx)
		wg.Go(func() {
			if _, err := client.Check(left, get("/users", "slow-given-up")); status.Code(err) != codes.Canceled {
				t.Errorf("given up: %v", err)
			}
		})
		<-g.arrived
		leave()
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		// The answer comes a little before the deadline, or the client is quicker.
		if r, err := client.Check(short, get("/users", "slow-no-time")); status.Code(err) != codes.DeadlineExceeded && codeOf(r) != "unavailable" {
			t.Errorf("no time: %s, %v", codeOf(r), err)
		}
		close(g.open)
		wg.Wait()
	})
}

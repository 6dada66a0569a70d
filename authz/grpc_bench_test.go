package authz

import (
	"context"
	"fmt"
	"net"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// BenchmarkGRPC is a check over a real connection of loopback, beside a stock server
// that allows everything without looking. The client is in the same process, and its
// cost in each figure: what tells is the difference. make bench measures the servers
// alone, behind a real Envoy.
func BenchmarkGRPC(b *testing.B) {
	for _, server := range []struct {
		name string
		make func(*Server) *grpc.Server
	}{
		{"no-op", func(*Server) *grpc.Server {
			g := grpc.NewServer()
			authv3.RegisterAuthorizationServer(g, noop{})
			return g
		}},
		{"scopeward", func(s *Server) *grpc.Server {
			g := grpc.NewServer(Codec())
			s.Register(g)
			return g
		}},
		{"scopeward generated codec", func(s *Server) *grpc.Server {
			g := grpc.NewServer()
			authv3.RegisterAuthorizationServer(g, s)
			return g
		}},
	} {
		b.Run(server.name, func(b *testing.B) {
			conn := dial(b, server.make(benchServer(b)))
			wire, err := proto.Marshal(browserRequest(fmt.Sprintf("%0700d", 7)))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					request := wire
					if err := conn.Invoke(context.Background(), authv3.Authorization_Check_FullMethodName, &request, new([]byte), grpc.ForceCodecV2(unread{})); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

type noop struct {
	authv3.UnimplementedAuthorizationServer
}

// Check implements authv3.AuthorizationServer.
func (noop) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}}, nil
}

// unread is a client's codec that costs nothing: messages are bytes already, or left
// unread.
type unread struct{}

var _ encoding.CodecV2 = unread{}

func (unread) Name() string { return grpcproto.Name }
func (unread) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}
func (unread) Unmarshal(mem.BufferSlice, any) error { return nil }

func dial(b *testing.B, g *grpc.Server) *grpc.ClientConn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = g.Serve(l) }()
	b.Cleanup(g.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return conn
}

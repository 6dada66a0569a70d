package authz

import (
	"context"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Register serves the server on g by package wire; the grpc.Server must have been
// made with [Codec].
func (s *Server) Register(g *grpc.Server) {
	desc := authv3.Authorization_ServiceDesc
	desc.HandlerType = (*any)(nil)
	desc.Methods = []grpc.MethodDesc{{MethodName: "Check", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		event := newEvent(callTraceparent(ctx))
		if err := decode(event); err != nil {
			event.release()
			return nil, err
		}
		s.answer(ctx, event)
		return event, nil // released once it is encoded
	}}}
	g.RegisterService(&desc, s)
}

// Codec is the server option that [Server.Register] needs. Messages other than
// its own are left to the generated code.
func Codec() grpc.ServerOption {
	return grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(grpcproto.Name)})
}

type codec struct{ generated encoding.CodecV2 }

func (codec) Name() string { return grpcproto.Name }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	event, ok := v.(*Event)
	if !ok {
		return c.generated.Unmarshal(data, v)
	}
	// One string holds all others of the request.
	var message string
	if len(data) == 1 {
		message = string(data[0].ReadOnlyData())
	} else {
		message = string(data.Materialize())
	}
	return event.request.asked.Unmarshal(message)
}

// replySize is room for most replies; less than 1 KiB would not be pooled.
const replySize = 2 << 10

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	event, ok := v.(*Event)
	if !ok {
		return c.generated.Marshal(v)
	}
	pool := mem.DefaultBufferPool()
	buffer := pool.Get(replySize)
	*buffer = event.reply.Append((*buffer)[:0])
	event.release()
	return mem.BufferSlice{mem.NewBuffer(buffer, pool)}, nil
}

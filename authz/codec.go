package authz

import (
	"context"
	"errors"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// The generated code spends more on a CheckRequest than all the rest of a check
// does: some eighty allocations for fields that nobody looks at. This file reads
// and writes the wire format (https://protobuf.dev/programming-guides/encoding)
// of the two messages directly. It gives what the generated code gives, or an
// error where that does; a fuzz test holds the one against the other.

// Register serves the server on g by this codec; the grpc.Server must have been
// made with [Codec].
func (s *Server) Register(g *grpc.Server) {
	desc := authv3.Authorization_ServiceDesc
	desc.HandlerType = (*any)(nil)
	desc.Methods = []grpc.MethodDesc{{MethodName: "Check", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		event := newEvent()
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
	var wire string
	if len(data) == 1 {
		wire = string(data[0].ReadOnlyData())
	} else {
		wire = string(data.Materialize())
	}
	return event.request.unmarshal(wire)
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
	*buffer = event.reply.append((*buffer)[:0])
	event.release()
	return mem.BufferSlice{mem.NewBuffer(buffer, pool)}, nil
}

// errWire is any violation of the wire format.
var errWire = errors.New("the CheckRequest can't be decoded: it breaks the protobuf wire format, or has text that is not UTF-8")

// field is one field of a message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	text   string // what a protowire.BytesType holds; numbers are of no account
}

// next splits the first field off a message.
func next(wire string) (f field, rest string, err error) {
	tag, n := consumeVarint(wire)
	if number := tag >> 3; n < 0 || number < uint64(protowire.MinValidNumber) || number > uint64(protowire.MaxValidNumber) {
		return f, "", errWire
	}
	f.number, f.kind = protowire.DecodeTag(tag)
	wire = wire[n:]
	var size int
	switch f.kind {
	case protowire.BytesType:
		length, n := consumeVarint(wire)
		if n < 0 || length > uint64(len(wire)-n) {
			return f, "", errWire
		}
		size = n + int(length)
		f.text = wire[n:size]
	case protowire.VarintType:
		_, size = consumeVarint(wire)
	case protowire.Fixed32Type:
		size = 4
	case protowire.Fixed64Type:
		size = 8
	default: // a group, which nobody uses any more, or nonsense
		size = protowire.ConsumeFieldValue(f.number, f.kind, []byte(wire))
	}
	if size < 0 || size > len(wire) {
		return f, "", errWire
	}
	return f, wire[size:], nil
}

func consumeVarint(s string) (v uint64, n int) {
	for i := 0; i < len(s) && i < 10; i++ {
		c := s[i]
		if i == 9 && c > 1 {
			return 0, -1
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, -1
}

// fields calls each for the fields of a message that hold bytes: the others are
// of no account, whatever their number.
func fields(wire string, each func(number protowire.Number, text string) error) error {
	for wire != "" {
		f, rest, err := next(wire)
		if err != nil {
			return err
		}
		if f.kind == protowire.BytesType {
			if err := each(f.number, f.text); err != nil {
				return err
			}
		}
		wire = rest
	}
	return nil
}

// text checks what proto3 asks of a string field.
func text(to *string, s string) error {
	if !utf8.ValidString(s) {
		return errWire
	}
	*to = s
	return nil
}

// generated leaves a message that Envoy seldom sends to the generated code; what
// is in it is of no account, but it must be well formed.
func generated(m proto.Message, wire string) error {
	if wire == "" {
		return nil
	}
	return proto.Unmarshal([]byte(wire), m)
}

// unmarshal reads envoy.service.auth.v3.CheckRequest. A message that comes twice
// is merged, and of a field that comes twice the last counts, as in protobuf.
func (a *attributes) unmarshal(wire string) error {
	return fields(wire, func(number protowire.Number, wire string) error {
		if number != 1 { // attributes
			return nil
		}
		return a.unmarshalContext(wire)
	})
}

// unmarshalContext reads AttributeContext.
func (a *attributes) unmarshalContext(wire string) error {
	return fields(wire, func(number protowire.Number, wire string) error {
		switch number {
		case 1: // source
			return unmarshalPeer(&a.peer, wire)
		case 2: // destination
			var ignored string
			return unmarshalPeer(&ignored, wire)
		case 4: // request
			return a.unmarshalRequest(wire)
		case 10: // context_extensions
			name, value, err := entry(wire)
			if err == nil && name == "policy" {
				a.policy = value
			}
			return err
		case 11, 13: // metadata_context, route_metadata_context
			return generated(&corev3.Metadata{}, wire)
		case 12: // tls_session
			return generated(&authv3.AttributeContext_TLSSession{}, wire)
		}
		return nil
	})
}

// unmarshalRequest reads AttributeContext.Request.
func (a *attributes) unmarshalRequest(wire string) error {
	return fields(wire, func(number protowire.Number, wire string) error {
		switch number {
		case 1: // time
			return fields(wire, func(protowire.Number, string) error { return nil })
		case 2:
			a.http = true
			return a.unmarshalHTTP(wire)
		}
		return nil
	})
}

// unmarshalHTTP reads AttributeContext.HttpRequest.
func (a *attributes) unmarshalHTTP(wire string) error {
	return fields(wire, func(number protowire.Number, wire string) error {
		var ignored string
		switch number {
		case 1:
			return text(&a.id, wire)
		case 2:
			return text(&a.method, wire)
		case 3: // headers
			name, value, err := entry(wire)
			a.headers = append(a.headers, header{name, value})
			return err
		case 4:
			return text(&a.path, wire)
		case 5:
			return text(&a.host, wire)
		case 6, 7, 8, 10, 11: // scheme, query, fragment, protocol, body
			return text(&ignored, wire)
		case 13: // header_map
			return a.unmarshalHeaderMap(wire)
		}
		return nil
	})
}

// unmarshalHeaderMap reads envoy.config.core.v3.HeaderMap.
func (a *attributes) unmarshalHeaderMap(wire string) error {
	return fields(wire, func(number protowire.Number, wire string) error {
		if number != 1 { // headers
			return nil
		}
		var name, value, raw string
		err := fields(wire, func(number protowire.Number, wire string) error {
			switch number {
			case 1:
				return text(&name, wire)
			case 2:
				return text(&value, wire)
			case 3:
				raw = wire
			}
			return nil
		})
		a.rawHeaders = append(a.rawHeaders, rawHeader(name, value, []byte(raw)))
		return err
	})
}

// entry reads an entry of a map of strings.
func entry(wire string) (name, value string, err error) {
	err = fields(wire, func(number protowire.Number, wire string) error {
		switch number {
		case 1:
			return text(&name, wire)
		case 2:
			return text(&value, wire)
		}
		return nil
	})
	return name, value, err
}

// unmarshalPeer reads the address of an AttributeContext.Peer.
func unmarshalPeer(address *string, wire string) error {
	return fields(wire, func(number protowire.Number, wire string) error {
		var ignored string
		switch number {
		case 1: // address
			return unmarshalAddress(address, wire)
		case 2, 4, 5: // service, principal, certificate
			return text(&ignored, wire)
		case 3: // labels
			_, _, err := entry(wire)
			return err
		}
		return nil
	})
}

// unmarshalAddress reads envoy.config.core.v3.Address, a oneof: the last kind of
// address counts, and the same kind twice is merged.
func unmarshalAddress(address *string, wire string) error {
	return fields(wire, func(number protowire.Number, wire string) error {
		switch number {
		case 1: // socket_address
			return fields(wire, func(number protowire.Number, wire string) error {
				var ignored string
				switch number {
				case 2:
					return text(address, wire)
				case 4, 5, 7: // named_port, resolver_name, network_namespace_filepath
					return text(&ignored, wire)
				}
				return nil
			})
		case 2: // pipe
			*address = ""
			return generated(&corev3.Pipe{}, wire)
		case 3: // envoy_internal_address
			*address = ""
			return generated(&corev3.EnvoyInternalAddress{}, wire)
		}
		return nil
	})
}

// append writes envoy.service.auth.v3.CheckResponse, as message builds it.
func (r *reply) append(b []byte) []byte {
	grpcCode := codes.OK
	if !r.allowed {
		grpcCode = r.denial().grpc
	}
	b = appendMessage(b, 1, func(b []byte) []byte { return appendVarint(b, 1, uint64(grpcCode)) }) // status
	if r.allowed {
		b = appendMessage(b, 3, r.appendOK)
	} else {
		b = appendMessage(b, 2, r.appendDenied)
	}
	return appendMessage(b, 4, r.appendMetadata)
}

// appendOK writes OkHttpResponse.
func (r *reply) appendOK(b []byte) []byte {
	b = r.appendHeaders(b, 2)
	for _, name := range r.remove {
		b = appendString(b, 5, name)
	}
	return b
}

// appendDenied writes DeniedHttpResponse.
func (r *reply) appendDenied(b []byte) []byte {
	status := r.denial().status
	b = appendMessage(b, 1, func(b []byte) []byte { return appendVarint(b, 1, uint64(status)) })
	b = r.appendHeaders(b, 2)
	return appendString(b, 3, r.body)
}

// appendHeaders writes HeaderValueOptions.
func (r *reply) appendHeaders(b []byte, number protowire.Number) []byte {
	for _, h := range r.set {
		b = appendMessage(b, number, func(b []byte) []byte {
			b = appendMessage(b, 1, func(b []byte) []byte { return appendString(appendString(b, 1, h.name), 2, h.value) })
			return appendVarint(b, 3, uint64(corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
		})
	}
	return b
}

// appendMetadata writes google.protobuf.Struct.
func (r *reply) appendMetadata(b []byte) []byte {
	b = appendMember(b, "code", r.code)
	b = appendMember(b, "rule", r.rule)
	if r.who == nil {
		return b
	}
	b = appendMember(b, "subject", r.who.Subject)
	b = appendMember(b, "provider", r.who.Provider)
	return appendMessage(b, 1, func(b []byte) []byte {
		b = appendString(b, 1, "scopes")
		return appendMessage(b, 2, func(b []byte) []byte { // Value
			return appendMessage(b, 6, func(b []byte) []byte { // list_value
				for _, scope := range r.who.Scopes {
					b = appendMessage(b, 1, func(b []byte) []byte { return appendString(b, 3, scope) })
				}
				return b
			})
		})
	})
}

// appendMember writes a text member of a Struct. A Value has presence: also an empty
// text is written.
func appendMember(b []byte, name, value string) []byte {
	return appendMessage(b, 1, func(b []byte) []byte {
		b = appendString(b, 1, name)
		return appendMessage(b, 2, func(b []byte) []byte {
			return protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), value)
		})
	})
}

// appendMessage writes a message of any size: the room for its length is made once it
// is known.
func appendMessage(b []byte, number protowire.Number, content func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, number, protowire.BytesType)
	start := len(b)
	b = content(append(b, 0))
	length := len(b) - start - 1
	for range protowire.SizeVarint(uint64(length)) - 1 {
		b = append(b, 0)
	}
	copy(b[start+protowire.SizeVarint(uint64(length)):], b[start+1:start+1+length])
	protowire.AppendVarint(b[:start], uint64(length))
	return b
}

func appendString(b []byte, number protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), s)
}

func appendVarint(b []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}

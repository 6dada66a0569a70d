package wire

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/structpb"
)

// Response is what Envoy is to do. Its zero value denies.
type Response struct {
	Allowed  bool
	GRPC     codes.Code        // of a denial; only has to differ from OK: Envoy answers by Status
	Status   typev3.StatusCode // of a denial
	Body     string            // of a denial
	Set      []Header          // for the upstream, or for the client of a denial
	Remove   []string          // from what goes upstream; never a name of Set, for Envoy would remove it
	Answer   []Header          // for the client of an allowed request, where the upstream sets none
	Metadata Metadata
}

// Metadata is what Envoy's access log and later filters see under
// envoy.filters.http.ext_authz.
type Metadata struct {
	Code, Rule string

	Identified        bool // without it, nothing of the following
	Subject, Provider string
	Scopes            []string
}

// Reset empties the response and keeps the memory of its lists.
func (r *Response) Reset() {
	clear(r.Set)
	clear(r.Remove)
	clear(r.Answer)
	*r = Response{Set: r.Set[:0], Remove: r.Remove[:0], Answer: r.Answer[:0]}
}

// Denial is the gRPC and the HTTP status of a denial. They are those of an internal
// error where they were forgotten.
func (r *Response) Denial() (codes.Code, typev3.StatusCode) {
	if r.Status == 0 || r.GRPC == codes.OK {
		return codes.Internal, typev3.StatusCode_InternalServerError
	}
	return r.GRPC, r.Status
}

// Message is the response as the generated code has it. A denial always carries a
// DeniedResponse: without one it would be a bare 403, and failure_mode_allow could
// open it.
func (r *Response) Message() *authv3.CheckResponse {
	out := &authv3.CheckResponse{DynamicMetadata: r.Metadata.message()}
	set := options(r.Set, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	if r.Allowed {
		out.Status = &rpcstatus.Status{Code: int32(codes.OK)}
		out.HttpResponse = &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers: set, HeadersToRemove: slices.Clone(r.Remove),
			ResponseHeadersToAdd: options(r.Answer, corev3.HeaderValueOption_ADD_IF_ABSENT),
		}}
		return out
	}
	code, status := r.Denial()
	out.Status = &rpcstatus.Status{Code: int32(code)}
	out.HttpResponse = &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
		Status: &typev3.HttpStatus{Code: status}, Headers: set, Body: r.Body,
	}}
	return out
}

func options(headers []Header, action corev3.HeaderValueOption_HeaderAppendAction) []*corev3.HeaderValueOption {
	out := make([]*corev3.HeaderValueOption, len(headers))
	for i, h := range headers {
		out[i] = &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: h.Name, Value: h.Value}, AppendAction: action}
	}
	return out
}

func (m *Metadata) message() *structpb.Struct {
	fields := map[string]*structpb.Value{
		"code": structpb.NewStringValue(m.Code),
		"rule": structpb.NewStringValue(m.Rule),
	}
	if m.Identified {
		scopes := make([]*structpb.Value, len(m.Scopes))
		for i, s := range m.Scopes {
			scopes[i] = structpb.NewStringValue(s)
		}
		fields["subject"] = structpb.NewStringValue(m.Subject)
		fields["scopes"] = structpb.NewListValue(&structpb.ListValue{Values: scopes})
		fields["provider"] = structpb.NewStringValue(m.Provider)
	}
	return &structpb.Struct{Fields: fields}
}

// Append appends the wire format of the CheckResponse that Message builds.
func (r *Response) Append(b []byte) []byte {
	grpcCode := codes.OK
	if !r.Allowed {
		grpcCode, _ = r.Denial()
	}
	b = appendMessage(b, 1, func(b []byte) []byte { return appendVarint(b, 1, uint64(grpcCode)) }) // status
	if r.Allowed {
		b = appendMessage(b, 3, r.appendOK)
	} else {
		b = appendMessage(b, 2, r.appendDenied)
	}
	return appendMessage(b, 4, r.appendMetadata)
}

// appendOK writes OkHttpResponse.
func (r *Response) appendOK(b []byte) []byte {
	b = appendHeaders(b, 2, r.Set, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	for _, name := range r.Remove {
		b = appendString(b, 5, name)
	}
	return appendHeaders(b, 6, r.Answer, corev3.HeaderValueOption_ADD_IF_ABSENT)
}

// appendDenied writes DeniedHttpResponse.
func (r *Response) appendDenied(b []byte) []byte {
	_, status := r.Denial()
	b = appendMessage(b, 1, func(b []byte) []byte { return appendVarint(b, 1, uint64(status)) })
	b = appendHeaders(b, 2, r.Set, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	return appendString(b, 3, r.Body)
}

// appendHeaders writes HeaderValueOptions.
func appendHeaders(b []byte, number protowire.Number, headers []Header, action corev3.HeaderValueOption_HeaderAppendAction) []byte {
	for _, h := range headers {
		b = appendMessage(b, number, func(b []byte) []byte {
			b = appendMessage(b, 1, func(b []byte) []byte { return appendString(appendString(b, 1, h.Name), 2, h.Value) })
			return appendVarint(b, 3, uint64(action))
		})
	}
	return b
}

// appendMetadata writes google.protobuf.Struct.
func (r *Response) appendMetadata(b []byte) []byte {
	b = appendMember(b, "code", r.Metadata.Code)
	b = appendMember(b, "rule", r.Metadata.Rule)
	if !r.Metadata.Identified {
		return b
	}
	b = appendMember(b, "subject", r.Metadata.Subject)
	b = appendMember(b, "provider", r.Metadata.Provider)
	return appendMessage(b, 1, func(b []byte) []byte {
		b = appendString(b, 1, "scopes")
		return appendMessage(b, 2, func(b []byte) []byte { // Value
			return appendMessage(b, 6, func(b []byte) []byte { // list_value
				for _, scope := range r.Metadata.Scopes {
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

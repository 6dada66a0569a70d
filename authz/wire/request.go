// Package wire reads and writes the two messages of Envoy's external authorization,
// envoy.service.auth.v3.CheckRequest and CheckResponse, as far as Scopeward needs them.
//
// The generated code spends more on a CheckRequest than all the rest of a check does:
// some eighty allocations for fields that nobody looks at. This package handles the
// protobuf wire format (https://protobuf.dev/programming-guides/encoding) directly. It
// accepts what the generated code accepts and reads the same from it; a fuzz test
// compares the two.
package wire

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/encoding/protowire"
)

// Request is what Scopeward reads of a CheckRequest (Envoy's AttributeContext).
type Request struct {
	HTTP               bool // whether there is an HTTP request at all
	Method, Path, Host string
	Scheme             string
	ID                 string
	Headers            []Header // by lower-case name; of one name the last counts
	RawHeaders         []Header // encode_raw_headers: as they came; if any, they replace Headers
	Peer               string   // the downstream address; "" for a Unix socket
	Certificate        string   // include_peer_certificate: the peer's, PEM, URL-encoded
	Principal          string   // of the downstream's certificate
	Body, RawBody      string   // with_request_body: in either, by pack_as_bytes
	Policy             string   // context_extensions: policy
}

// Header is a header of a request or of an answer.
type Header struct{ Name, Value string }

// Read reads a CheckRequest that the generated code has decoded.
func (r *Request) Read(in *authv3.CheckRequest) {
	context := in.GetAttributes()
	http := context.GetRequest().GetHttp()
	r.HTTP = http != nil
	r.Method, r.Path, r.Host, r.ID = http.GetMethod(), http.GetPath(), http.GetHost(), http.GetId()
	r.Scheme = http.GetScheme()
	for name, value := range http.GetHeaders() {
		r.Headers = append(r.Headers, Header{name, value})
	}
	for _, h := range http.GetHeaderMap().GetHeaders() {
		r.RawHeaders = append(r.RawHeaders, rawHeader(h.GetKey(), h.GetValue(), h.GetRawValue()))
	}
	r.Peer = context.GetSource().GetAddress().GetSocketAddress().GetAddress()
	r.Certificate = context.GetSource().GetCertificate()
	r.Principal = context.GetSource().GetPrincipal()
	r.Body, r.RawBody = http.GetBody(), string(http.GetRawBody())
	r.Policy = context.GetContextExtensions()["policy"]
}

// rawHeader is a header of encode_raw_headers, whose value is in either of two
// fields.
func rawHeader(name, value string, raw []byte) Header {
	if value == "" {
		value = strings.ToValidUTF8(string(raw), "\uFFFD")
	}
	return Header{strings.ToLower(name), value}
}

// Reset empties the request and keeps the memory of its lists.
func (r *Request) Reset() {
	clear(r.Headers)
	clear(r.RawHeaders)
	*r = Request{Headers: r.Headers[:0], RawHeaders: r.RawHeaders[:0]}
}

// JoinRaw joins headers of one name by commas, as Envoy does without
// encode_raw_headers.
func (r *Request) JoinRaw() {
	if len(r.RawHeaders) == 0 {
		return
	}
	places := map[string]int{}
	r.Headers = r.Headers[:0]
	for _, h := range r.RawHeaders {
		if i, ok := places[h.Name]; ok {
			r.Headers[i].Value += "," + h.Value
			continue
		}
		places[h.Name] = len(r.Headers)
		r.Headers = append(r.Headers, h)
	}
}

// Header returns the value of a header, "" if there is none.
func (r *Request) Header(name string) string {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Name == name {
			return r.Headers[i].Value
		}
	}
	return ""
}

// ClientScheme is the scheme of the URL that the client asked for, https unless it is known
// to be http: a proxy that ended TLS says so.
func (r *Request) ClientScheme() string {
	scheme := r.Scheme
	if forwarded := r.Header("x-forwarded-proto"); forwarded != "" {
		scheme = forwarded
	}
	if scheme == "http" {
		return scheme
	}
	return "https"
}

// Unmarshal reads the wire format of a CheckRequest. It keeps parts of the text. A message that comes twice
// is merged, and of a field that comes twice the last counts, as in protobuf.
func (r *Request) Unmarshal(wire string) error {
	return fields(wire, func(number protowire.Number, wire string) error {
		if number != 1 { // attributes
			return nil
		}
		return r.unmarshalContext(wire)
	})
}

// unmarshalContext reads AttributeContext.
func (r *Request) unmarshalContext(wire string) error {
	return fields(wire, func(number protowire.Number, wire string) error {
		switch number {
		case 1: // source
			return unmarshalPeer(&r.Peer, &r.Principal, &r.Certificate, wire)
		case 2: // destination
			var ignored string
			return unmarshalPeer(&ignored, &ignored, &ignored, wire)
		case 4: // request
			return r.unmarshalRequest(wire)
		case 10: // context_extensions
			name, value, err := entry(wire)
			if err == nil && name == "policy" {
				r.Policy = value
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
func (r *Request) unmarshalRequest(wire string) error {
	return fields(wire, func(number protowire.Number, wire string) error {
		switch number {
		case 1: // time
			return fields(wire, func(protowire.Number, string) error { return nil })
		case 2:
			r.HTTP = true
			return r.unmarshalHTTP(wire)
		}
		return nil
	})
}

// unmarshalHTTP reads AttributeContext.HttpRequest.
func (r *Request) unmarshalHTTP(wire string) error {
	return fields(wire, func(number protowire.Number, wire string) error {
		var ignored string
		switch number {
		case 1:
			return text(&r.ID, wire)
		case 2:
			return text(&r.Method, wire)
		case 3: // headers
			name, value, err := entry(wire)
			r.Headers = append(r.Headers, Header{name, value})
			return err
		case 4:
			return text(&r.Path, wire)
		case 5:
			return text(&r.Host, wire)
		case 6:
			return text(&r.Scheme, wire)
		case 7, 8, 10: // query, fragment, protocol
			return text(&ignored, wire)
		case 11:
			return text(&r.Body, wire)
		case 12:
			r.RawBody = wire
		case 13: // header_map
			return r.unmarshalHeaderMap(wire)
		}
		return nil
	})
}

// unmarshalHeaderMap reads envoy.config.core.v3.HeaderMap.
func (r *Request) unmarshalHeaderMap(wire string) error {
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
		r.RawHeaders = append(r.RawHeaders, rawHeader(name, value, []byte(raw)))
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

// unmarshalPeer reads address, principal and certificate of an AttributeContext.Peer.
func unmarshalPeer(address, principal, certificate *string, wire string) error {
	return fields(wire, func(number protowire.Number, wire string) error {
		var ignored string
		switch number {
		case 1: // address
			return unmarshalAddress(address, wire)
		case 2: // service
			return text(&ignored, wire)
		case 4:
			return text(principal, wire)
		case 5:
			return text(certificate, wire)
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

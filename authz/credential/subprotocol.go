package credential

import (
	"strings"

	"scopeward/authz/wire"
)

// subprotocols walks through the protocols that a WebSocket handshake offers: the
// credential's name, then the token, and others.
func subprotocols(header string, named func(string) bool, each func(protocol string, name, token bool)) {
	after := false
	for protocol := range strings.SplitSeq(header, ",") {
		if protocol = strings.Trim(protocol, " \t"); protocol == "" {
			continue
		}
		name := named(protocol)
		each(protocol, name, after && !name)
		after = name
	}
}

// findSubprotocol gives the token that follows a protocol's name, "" if there is none.
func findSubprotocol(header, name string) (value string, err error) {
	named := func(protocol string) bool { return strings.EqualFold(protocol, name) }
	subprotocols(header, named, func(protocol string, _, token bool) {
		switch {
		case token && value != "" && value != protocol:
			err = errTwice
		case token:
			value = protocol
		}
	})
	return value, err
}

// hideSubprotocols leaves the other protocols. Where there are none, the service behind
// has none to choose, but browsers fail the handshake without one of those they offered.
func hideSubprotocols(p *Places, r *wire.Request, to *wire.Response) {
	header := r.Header("sec-websocket-protocol")
	if header == "" || !p.Has(Subprotocol) {
		return
	}
	var kept []string
	offered := ""
	subprotocols(header, p.isSubprotocol, func(protocol string, name, token bool) {
		switch {
		case name:
			offered = protocol
		case !token:
			kept = append(kept, protocol)
		}
	})
	if offered == "" {
		return
	}
	replace(to, "sec-websocket-protocol", strings.Join(kept, ", "), true)
	if len(kept) == 0 {
		to.Answer = append(to.Answer, wire.Header{Name: "sec-websocket-protocol", Value: offered})
	}
}

func (p *Places) isSubprotocol(protocol string) bool {
	for _, at := range p.List {
		if at.Kind == Subprotocol && strings.EqualFold(protocol, at.Name) {
			return true
		}
	}
	return false
}

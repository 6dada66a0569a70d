package credential

import (
	"slices"
	"strings"
)

// Fault says why a place can't be looked at; "" if it can.
func (p Place) Fault() string {
	switch {
	case p.Kind == Bearer:
		return ""
	case p.Name == "":
		return "it has no name"
	case strings.ContainsFunc(p.Name, func(r rune) bool { return !p.takes(r) }):
		return p.String() + " has a character that no such name can have without doubt; use letters, digits, hyphens, underscores and dots"
	}
	if p.Kind != Header {
		return ""
	}
	switch p.Name {
	case "authorization":
		return "write bearer for the header Authorization"
	case "cookie":
		return "write cookie and the name of the cookie"
	case "sec-websocket-protocol":
		return "write subprotocol and its name"
	case "host", "connection", "content-length", "content-type", "transfer-encoding", "te", "upgrade", "trailer", "origin", "sec-fetch-site", ProofHeader:
		return "the header " + p.Name + " belongs to the request itself"
	}
	return ""
}

// takes reports whether a name may have a character: those of a token (RFC 9110 §5.6.2),
// but in a header's name only what all servers take, and elsewhere none of an escape.
func (p Place) takes(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '_':
		return true
	case p.Kind == Header:
		return false
	default:
		return 'A' <= r && r <= 'Z' || strings.ContainsRune("!$'*.^`|~", r)
	}
}

// UpstreamHeader is the header that is changed, or removed, where the credential is in it.
func (p Place) UpstreamHeader() string {
	switch p.Kind {
	case Header:
		return p.Name
	case Cookie:
		return "cookie"
	case Subprotocol:
		return "sec-websocket-protocol"
	case Query:
		return ":path"
	default:
		return "authorization"
	}
}

// RequestHeaders are the headers that Envoy must send so that the place can be looked at.
func (p Place) RequestHeaders() []string {
	switch p.Kind {
	case Cookie:
		return []string{"cookie", "origin", "sec-fetch-site"}
	case Query:
		return nil
	case Bearer:
		return []string{"authorization", "dpop"}
	default:
		return []string{p.UpstreamHeader()}
	}
}

// Looked are the headers that Envoy must send so that all places can be looked at, sorted.
func (p *Places) Looked() []string {
	return p.headers(func(at Place) []string { return at.RequestHeaders() })
}

// Edited are the headers that are changed or removed on the way upstream, which Envoy must
// allow, sorted.
func (p *Places) Edited() []string {
	return p.headers(func(at Place) []string {
		if !p.Withhold && (at.Kind == Bearer || at.Kind == Header) {
			return nil
		}
		return []string{at.UpstreamHeader()}
	})
}

// BearerMethods are the ways of RFC 6750 to bring a bearer token, as RFC 9728 names them.
func (p *Places) BearerMethods() []string {
	var methods []string
	if p.Has(Bearer) {
		methods = append(methods, "header")
	}
	for _, at := range p.List {
		if at.Kind == Query && at.Name == "access_token" {
			methods = append(methods, "query")
		}
	}
	return methods
}

func (p *Places) headers(of func(Place) []string) []string {
	list := p.List
	if len(list) == 0 {
		list = []Place{{}}
	}
	names := []string{}
	for _, at := range list {
		names = append(names, of(at)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Clashes reports whether two places are the same for some reader.
func (p Place) Clashes(other Place) bool {
	return p.Kind == other.Kind && strings.ReplaceAll(fold(p.Name), "-", "_") == strings.ReplaceAll(fold(other.Name), "-", "_")
}

// Has reports whether credentials may be in a kind of place.
func (p *Places) Has(k Kind) bool {
	for i := range p.List {
		if p.List[i].Kind == k {
			return true
		}
	}
	return k == Bearer && len(p.List) == 0
}

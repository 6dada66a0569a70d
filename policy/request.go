package policy

import (
	"net/netip"
	"strings"
	"time"
)

// Request is the part of an HTTP request that rules can ask about. Make it with
// NewRequest: patterns are compared with canonical values only.
type Request struct {
	Method   string
	Host     string // lower case, without port and trailing dot; may be empty
	Path     Path
	Query    string            // raw, without the question mark
	Headers  map[string]string // by lower-case name
	ClientIP string            // empty: not known, and an error of a condition that asks for it
	Peer     Peer              // what is empty is an error of a condition that asks for it
	Body     *Body             // likewise if nil
	Time     time.Time         // when it was made; zero: not known, and no login is young enough
	// Preflight is the method that a CORS preflight request asks for, "" for another request.
	Preflight string
}

// RequestError says in words why a request is ambiguous, or is none. Its answer
// is 400.
type RequestError struct{ Reason string }

func (e *RequestError) Error() string { return e.Reason }

// NewRequest makes a request canonical. target is the path with its query as
// it came (RFC 9112 §3.2.1, origin form). Errors are of type *RequestError:
// what two parties could read differently is refused, not repaired.
func NewRequest(method, host, target string) (Request, error) {
	if !isToken(method) {
		return Request{}, &RequestError{"the method is not a token"}
	}
	for i := range len(target) {
		switch c := target[i]; {
		case c == '#':
			return Request{}, &RequestError{"the request target has a fragment"}
		case c < ' ' || c == 0x7f:
			return Request{}, &RequestError{"the request target has a control character"}
		}
	}
	rawPath, query, _ := strings.Cut(target, "?")
	path, err := newPath(rawPath)
	if err != nil {
		return Request{}, err
	}
	canonical, err := canonicalHost(host)
	if err != nil {
		return Request{}, err
	}
	return Request{Method: method, Host: canonical, Path: path, Query: query}, nil
}

// canonicalHost takes the port off a host and makes its name comparable. An
// empty host stays empty: only patterns without a host match it.
func canonicalHost(host string) (string, error) {
	if host == "" {
		return "", nil
	}
	name, port, hasPort := host, "", false
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return "", &RequestError{"the host has [ without ]"}
		}
		name, port, hasPort = host[:end+1], host[end+1:], end+1 < len(host)
		if hasPort && port[0] != ':' {
			return "", &RequestError{"the host has characters after ]"}
		}
		port = strings.TrimPrefix(port, ":")
	} else {
		name, port, hasPort = strings.Cut(host, ":")
	}
	// Envoy takes no empty port off a host when it looks for the virtual host.
	if hasPort && !isPort(port) {
		return "", &RequestError{"the port of the host is not a number"}
	}
	if strings.HasPrefix(name, "[") {
		return canonicalIPv6(name[1 : len(name)-1])
	}
	return canonicalName(name)
}

func canonicalIPv6(literal string) (string, error) {
	addr, err := netip.ParseAddr(literal)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", &RequestError{"the host in [ ] is not an IPv6 address"}
	}
	return "[" + addr.String() + "]", nil
}

// canonicalName checks the form of a registered name or IPv4 address. Names of
// other scripts come in their ASCII form (RFC 5891), underscores are in use.
func canonicalName(name string) (string, error) {
	if strings.HasSuffix(name, "..") { // one of which Envoy may have taken off
		return "", &RequestError{"the host ends in more than one dot"}
	}
	name = strings.TrimSuffix(name, ".")
	if len(name) > 253 {
		return "", &RequestError{"the host is too long"}
	}
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return "", &RequestError{"the host has an empty label"}
			}
			label = 0
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			label++
		default:
			return "", &RequestError{"the host has a character that no host has"}
		}
	}
	if label == 0 {
		return "", &RequestError{"the host has an empty label"}
	}
	return strings.ToLower(name), nil
}

func isPort(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) <= 5
}

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			continue
		}
		if strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

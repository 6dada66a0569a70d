package authz

import (
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
)

// EnvoyAppends says whether Envoy appends an entry of its own to X-Forwarded-For.
type EnvoyAppends uint8

const (
	// AppendsAuto knows that Envoy appended where the last entry is the downstream
	// address. Behind a proxy on loopback, Envoy appends another address, its own, and
	// nothing can be known.
	AppendsAuto   EnvoyAppends = iota
	AppendsAlways              // use_remote_address without skip_xff_append
	AppendsNever
)

// Hops says how to find the client behind proxies. Its zero value believes no proxy: the
// client is the downstream address.
type Hops struct {
	Trusted int // proxies in front of Envoy whose entries of X-Forwarded-For are believed
	Appends EnvoyAppends
}

// unsatisfied is why the client's address isn't known. Its zero value is that it is.
type unsatisfied uint8

const (
	satisfied unsatisfied = iota
	onLoopback
	notAppended
	tooFewEntries
	noAddress

	numUnsatisfied
)

// advice says what to do about it.
func (u unsatisfied) advice() string {
	switch u {
	case onLoopback:
		return "a proxy on loopback is in front of Envoy, which may have appended its own address to X-Forwarded-For; " +
			"set rate_limit.envoy_appends to always if Envoy has use_remote_address, and to never if it has not, or has skip_xff_append"
	case notAppended:
		return "rate_limit.envoy_appends is always, but the last entry of X-Forwarded-For is not the downstream address; " +
			"set it to never if Envoy has skip_xff_append, or no use_remote_address"
	case tooFewEntries:
		return "X-Forwarded-For has fewer entries than rate_limit.trusted_hops; " +
			"lower it, or let every proxy in front of Envoy append to the header and nobody pass them by"
	default:
		return "the entry of X-Forwarded-For that rate_limit.trusted_hops counts to is no IP address; " +
			"let the proxies in front of Envoy append the address that they see"
	}
}

// client returns the address that the outermost trusted proxy saw, or the downstream
// address where no proxy is trusted. What lies further left in X-Forwarded-For is the
// client's own word and never counts.
func (h Hops) client(downstream, forwardedFor string) (address string, why unsatisfied) {
	if h.Trusted <= 0 {
		return downstream, satisfied
	}
	entries, why := h.proxies(downstream, forwardedFor)
	if why != satisfied {
		return "", why
	}
	var entry string
	for range h.Trusted {
		if entries == "" {
			return "", tooFewEntries
		}
		// An empty entry is none for some readers, and one for others.
		if entries, entry = cutLast(entries); entry == "" {
			return "", noAddress
		}
	}
	if address = canonicalAddress(entry); address == "" {
		return "", noAddress
	}
	return address, satisfied
}

// proxies returns X-Forwarded-For without the entry that Envoy appended.
func (h Hops) proxies(downstream, forwardedFor string) (entries string, why unsatisfied) {
	if h.Appends == AppendsNever || downstream == "" { // Envoy appends nothing for a Unix socket
		return forwardedFor, satisfied
	}
	before, last := cutLast(forwardedFor)
	// As Envoy has it: of 127.0.0.0/8, only this address counts.
	loopback := downstream == "127.0.0.1" || downstream == "::1"
	appended := canonicalAddress(last) == downstream
	switch {
	case loopback && h.Appends == AppendsAuto:
		return "", onLoopback
	case h.Appends == AppendsAlways && !loopback && !appended:
		return "", notAppended
	case loopback || appended:
		return before, satisfied
	default:
		return forwardedFor, satisfied
	}
}

// cutLast cuts the last entry off a list.
func cutLast(list string) (before, last string) {
	i := strings.LastIndexByte(list, ',')
	return list[:max(i, 0)], strings.Trim(list[i+1:], " \t")
}

// canonicalAddress returns the one spelling of an IP address: without port and zone, and
// of an IPv4-mapped one the IPv4 address. It returns "" for anything else.
func canonicalAddress(s string) string {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		if strings.HasSuffix(s, "]") {
			s += ":0"
		}
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return ""
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone("").String()
}

// notices are what the log has been told, once each.
type notices struct {
	unsatisfied [numUnsatisfied]atomic.Bool
	crowd       atomic.Bool // that a client with many users is limited
}

// tellUnsatisfied logs the first request of which the client isn't known, by why.
func (s *Server) tellUnsatisfied(why unsatisfied) {
	if why == satisfied || s.notices.unsatisfied[why].Load() || s.notices.unsatisfied[why].Swap(true) {
		return
	}
	s.log.Warn("a request's client is not known: conditions on request.client_ip deny, and the rate limit counts the proxy",
		slog.String("reason", why.advice()))
}

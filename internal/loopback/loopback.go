// Package loopback knows the names of this machine that no other machine has.
package loopback

import (
	"net/netip"
	"strings"
)

// Is reports whether a host, without port, leads to this machine alone. Another name than
// localhost may lead anywhere.
func Is(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// Reaches reports whether a host, without port, may lead to this machine by its name
// alone: also in spellings that [Is] does not take, such as 0.0.0.0 and a.localhost.
func Reaches(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return Is(host) || strings.HasSuffix(host, ".localhost") || err == nil && (addr.Unmap().IsLoopback() || addr.IsUnspecified())
}

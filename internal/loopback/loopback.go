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

package serve

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"scopeward/internal/config"
)

// guarded refuses what a web site has a visitor's browser ask of the admin listener: by a
// name of its own that leads here (DNS rebinding), or from one of its pages.
type guarded struct {
	*service
	next http.Handler
}

// ServeHTTP implements [http.Handler].
func (g guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch settings := g.state.Load().Config.Admin; {
	case !mayName(settings, r):
		http.Error(w, "This is not served under that name. Open it by an IP address or as localhost, or add the name to admin.hosts.", http.StatusMisdirectedRequest)
	case crossOrigin(r):
		http.Error(w, "Another web site asks for this; only Scopeward's own page may.", http.StatusForbidden)
	default:
		g.next.ServeHTTP(w, r)
	}
}

// mayName tells whether the request's Host is one that no web site can have: an IP
// address, localhost, or a name that the configuration gives. Where other machines may
// ask, Prometheus, probes and services do so by any name: they are shown no decisions.
func mayName(admin config.Admin, r *http.Request) bool {
	if admin.AllowRemote && slices.Contains([]string{"/metrics", "/healthz", "/readyz", config.IdentityKeysPath}, r.URL.Path) {
		return true
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if _, err := netip.ParseAddr(host); err == nil || strings.EqualFold(host, "localhost") {
		return true
	}
	return slices.ContainsFunc(admin.Hosts, func(name string) bool { return strings.EqualFold(host, name) })
}

// crossOrigin tells whether a browser says that the request comes from a page of
// another origin (Sec-Fetch-Site, W3C Fetch Metadata; Origin, RFC 6454). A person who
// follows a link comes to the page itself. Who asks without a browser says nothing.
func crossOrigin(r *http.Request) bool {
	if r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Method == http.MethodGet {
		return false
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site != "same-origin" && site != "none"
	}
	origin := r.Header.Get("Origin")
	from, err := url.Parse(origin)
	return origin != "" && (err != nil || from.Host != r.Host)
}

package credential

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"scopeward/authz/wire"
)

// Origin is the origin of a web page (RFC 6454): a scheme, a host and a port.
type Origin struct{ scheme, host, port string }

var errOrigin = errors.New("an origin is a scheme, a host and perhaps a port, as in https://app.example.com")

// ParseOrigin reads an origin as browsers write it, but in any case and with the scheme's
// own port, too.
func ParseOrigin(s string) (Origin, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || s != u.Scheme+"://"+u.Host {
		// url.Parse has made the scheme lower case; a browser never writes another.
		return Origin{}, errOrigin
	}
	return newOrigin(u.Scheme, u.Host)
}

// newOrigin is the origin of what a scheme and the authority of a URL address.
func newOrigin(scheme, authority string) (Origin, error) {
	u, err := url.Parse(scheme + "://" + authority)
	if err != nil || u.Host != authority || u.Hostname() == "" || strings.HasSuffix(authority, ":") {
		return Origin{}, errOrigin
	}
	o := Origin{scheme, strings.ToLower(u.Hostname()), u.Port()}
	if addr, err := netip.ParseAddr(o.host); err == nil {
		o.host = addr.String()
	}
	if o.port == "" {
		o.port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return o, nil
}

// CrossSite reports whether a credential comes in a cookie that a browser may have added
// to a request of another site's (CSRF). An Origin must be the request's own or one of the
// cookie's; a method that may change something needs one, or Sec-Fetch-Site: same-origin.
func (f Found) CrossSite(r *wire.Request) bool {
	return slices.ContainsFunc(f.cookies, func(cookie Place) bool { return !cookie.ofSite(r) })
}

func (p Place) ofSite(r *wire.Request) bool {
	written := r.Header("origin")
	if written == "" {
		return r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions ||
			r.Header("sec-fetch-site") == "same-origin"
	}
	origin, err := ParseOrigin(written)
	return err == nil && (own(origin, r) || slices.Contains(p.Origins, origin))
}

// own reports whether a request goes to the origin that it comes from. Behind a proxy that
// ends TLS, Envoy may see http where the browser sees https: that counts. The other way it
// does not, since whoever is in the network may write what http shows.
func own(origin Origin, r *wire.Request) bool {
	if origin.scheme == "http" && r.ClientScheme() != "http" {
		return false
	}
	asked, err := newOrigin(origin.scheme, r.Host)
	return err == nil && asked == origin
}

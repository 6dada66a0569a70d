package binding

import (
	"net/netip"
	"net/url"
	"strings"
)

// URL is what a client asked for, as it saw it.
type URL struct {
	Scheme    string // https or http
	Authority string // the host, and perhaps a port
	Path      string // as it came, without the query
}

// String is the URL for people. Its path has no query, and no credential.
func (u URL) String() string { return u.Scheme + "://" + u.Authority + u.Path }

// is reports whether a proof's htu is the URL: after normalization by syntax and scheme
// (RFC 3986 §6.2.2 and §6.2.3), and without query and fragment (RFC 9449 §4.3).
func (u URL) is(htu string) bool {
	theirs, err := url.Parse(htu)
	if err != nil || theirs.Opaque != "" {
		return false
	}
	own, ok := normalized(u.Scheme, u.Authority, u.Path)
	other, ok2 := normalized(theirs.Scheme, theirs.Host, theirs.EscapedPath())
	return ok && ok2 && theirs.User == nil && own == other
}

// normalized is one spelling for all that mean the same.
func normalized(scheme, authority, path string) (string, bool) {
	scheme = strings.ToLower(scheme)
	defaultPort := map[string]string{"https": "443", "http": "80"}[scheme]
	u, err := url.Parse(scheme + "://" + authority)
	if err != nil || defaultPort == "" || u.Host != authority || u.Hostname() == "" {
		return "", false
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.String()
	}
	if port == "" {
		port = defaultPort
	}
	path, ok := normalizedPath(path)
	return scheme + "://" + host + ":" + port + path, ok
}

// normalizedPath decodes what needs no escape, writes others in upper case, and resolves
// dot segments.
func normalizedPath(p string) (string, bool) {
	if p == "" {
		return "/", true
	}
	if p[0] != '/' {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] != '%' {
			b.WriteByte(p[i])
			continue
		}
		c, ok := unhex(p, i+1)
		switch {
		case !ok:
			return "", false
		case isUnreserved(c):
			b.WriteByte(c)
		default:
			b.WriteString(strings.ToUpper(p[i : i+3]))
		}
		i += 2
	}
	return withoutDots(b.String()), true
}

// withoutDots resolves dot segments (RFC 3986 §5.2.4). Empty segments stay.
func withoutDots(p string) string {
	if !strings.Contains(p, "/.") {
		return p
	}
	var out []string
	segments := strings.Split(p[1:], "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case "..":
			out = out[:max(0, len(out)-1)]
		case ".":
		default:
			out = append(out, s)
			continue
		}
		if last {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/")
}

func unhex(s string, at int) (c byte, ok bool) {
	if at+2 > len(s) {
		return 0, false
	}
	for _, digit := range []byte(s[at : at+2]) {
		switch {
		case '0' <= digit && digit <= '9':
			c = c<<4 | (digit - '0')
		case 'a' <= digit|0x20 && digit|0x20 <= 'f':
			c = c<<4 | (digit | 0x20 - 'a' + 10)
		default:
			return 0, false
		}
	}
	return c, true
}

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

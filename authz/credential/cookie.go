package credential

import (
	"errors"
	"strings"

	"scopeward/authz/wire"
)

// cookieSeparators end a cookie for readers of RFC 2109 and some others.
const cookieSeparators = ", \t"

var (
	errTwice     = errors.New("comes twice, with different values")
	errDisguised = errors.New("could be read in two ways: its name must be written as it is configured, once, and stand apart")
	errQuotes    = errors.New("stands beside a cookie with a quotation mark that isn't closed")
	errEncoded   = errors.New("is quoted or percent-encoded: its value must be the token itself")
)

// findCookie gives the value of a cookie, "" if there is none.
func findCookie(header, name string) (value string, err error) {
	found, open := false, false
	for pair := range strings.SplitSeq(header, ";") {
		pair = strings.Trim(pair, " \t")
		_, v, _ := strings.Cut(pair, "=")
		switch compare(pair, name, cookieSeparators) {
		case same:
			if found && v != value {
				return "", errTwice
			}
			value, found = v, true
		case disguised:
			return "", errDisguised
		default:
			open = open || strings.HasPrefix(v, `"`) && (len(v) == 1 || !strings.HasSuffix(v, `"`))
		}
	}
	switch {
	case value != "" && open:
		return "", errQuotes
	case strings.ContainsAny(value, `"%`):
		return "", errEncoded
	}
	return value, nil
}

// hideCookies leaves the other cookies.
func hideCookies(p *Places, r *wire.Request, to *wire.Response) {
	header := r.Header("cookie")
	if header == "" || !p.Has(Cookie) {
		return
	}
	var kept []string
	changed := false
	for pair := range strings.SplitSeq(header, ";") {
		pair = strings.Trim(pair, " \t")
		if p.nearest(Cookie, pair, cookieSeparators) != other {
			changed = true
			continue
		}
		if pair != "" {
			kept = append(kept, pair)
		}
	}
	replace(to, "cookie", strings.Join(kept, "; "), changed)
}

// replace sets what is left of a header, or removes it.
func replace(to *wire.Response, name, kept string, changed bool) {
	switch {
	case !changed:
	case kept == "":
		to.Remove = append(to.Remove, name)
	default:
		to.Set = append(to.Set, wire.Header{Name: name, Value: kept})
	}
}

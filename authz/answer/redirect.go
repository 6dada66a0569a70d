package answer

import (
	"fmt"
	"net/url"
	"strings"
)

// NewRedirect compiles the address of a redirect: an http or https URL, or a path of the
// same site. Placeholders are part of its query only, so that no client chooses where a
// redirect leads.
func NewRedirect(text string) (Template, error) {
	pieces, err := parse(text)
	if err != nil {
		return nil, err
	}
	if len(pieces) > 1 {
		if first := pieces[1].offset; !strings.Contains(text[:first], "?") {
			return nil, &MistakeError{first, "placeholders of a redirect stand in its query only, after ?: elsewhere a client could choose where it leads"}
		}
		if at := strings.IndexByte(text, '#'); at >= 0 && at < pieces[len(pieces)-2].offset {
			return nil, &MistakeError{at, "placeholders of a redirect stand in its query only, before #"}
		}
	}
	sample := placeholder.ReplaceAllString(text, "x")
	if at := strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\\\"<>^`|", r) }); at >= 0 {
		return nil, &MistakeError{at, "here is a character that no URL has: percent-encode it"}
	}
	u, err := url.Parse(sample)
	switch {
	case err != nil || strings.ContainsAny(sample, "{}"):
		return nil, fmt.Errorf("%q is no URL", text)
	case strings.HasPrefix(sample, "//"):
		return nil, fmt.Errorf("%q leads to another site without saying how: begin it with https://", text)
	case strings.HasPrefix(sample, "/") && u.Host == "":
	case (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil:
	default:
		return nil, fmt.Errorf("%q must be an http(s) URL without a user, or a path of the same site, as in /login?return_to={url}", text)
	}
	return escaped(pieces, func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }), nil
}

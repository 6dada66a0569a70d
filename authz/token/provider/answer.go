package provider

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"scopeward/authz/token"
)

// Response is a complete answer, whatever its status.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // at most MaxBody
	// RetryAfter is what the header of that name asks for (RFC 9110 §10.2.3), at
	// most MaxRetryAfter; zero if there is none.
	RetryAfter time.Duration

	place string // the URL without its query
}

// Unavailable makes an error of an answer that does not tell whether a token is
// valid.
func (r *Response) Unavailable(format string, args ...any) *token.UnavailableError {
	return &token.UnavailableError{Reason: fmt.Sprintf(format, args...), RetryAfter: r.RetryAfter}
}

// Unexpected is the error of a status that is none of those wanted; setting is where the
// URL is configured.
func (r *Response) Unexpected(wanted, setting string) *token.UnavailableError {
	advice := ""
	switch r.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		advice = ": is " + setting + " right?"
	case http.StatusForbidden:
		advice = ": something in front of the provider may refuse it"
	}
	return r.Unavailable("the provider answers %d instead of %s at %s%s", r.Status, wanted, r.place, advice)
}

// Error is the error code of OAuth in the body; empty if it has none that concerns a
// request with a token (RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, RFC 7009 §2.2.1, RFC
// 8628 §3.5, RFC 9449 §5 and §7, RFC 9470 §3). Others than the provider have an error,
// too: a firewall answers {"error": "Forbidden"}.
func (r *Response) Error() string {
	body, err := token.ReadClaims(r.Body)
	known := []string{
		"invalid_token", "insufficient_scope", "invalid_request", "access_denied", "unauthorized_client", "invalid_client",
		"invalid_grant", "invalid_scope", "unsupported_token_type", "expired_token",
		"invalid_dpop_proof", "use_dpop_nonce", "insufficient_user_authentication",
	}
	if code := body.Text("error"); err == nil && slices.Contains(known, code) {
		return code
	}
	return ""
}

// Refuses reports whether the answer refuses the bearer token that was sent: it is 401,
// 403 with a challenge for a token or an error of OAuth, or another 4xx with the error
// invalid_token (RFC 6750 §3.1 has 401 for it, but not all providers follow). The 403 of
// something in front of the provider tells nothing.
func (r *Response) Refuses() bool {
	switch {
	case r.Status == http.StatusUnauthorized:
		return true
	case r.Status == http.StatusForbidden:
		return r.challenges("Bearer") || r.challenges("DPoP") || r.Error() != ""
	default:
		return 400 <= r.Status && r.Status < 500 && !r.ails() && r.Error() == "invalid_token"
	}
}

// challenges reports whether there is a challenge of a scheme (RFC 9110 §11.6.1).
func (r *Response) challenges(scheme string) bool {
	for _, value := range r.Header.Values("WWW-Authenticate") {
		for challenge := range strings.SplitSeq(value, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(challenge), " ")
			if strings.EqualFold(name, scheme) {
				return true
			}
		}
	}
	return false
}

// ails reports whether the answer says that the provider is not well, rather than
// something about the request.
func (r *Response) ails() bool {
	return r.Status == http.StatusTooManyRequests || r.Status >= http.StatusInternalServerError || r.missing()
}

// missing reports whether the endpoint is not there; a provider that finds no user for a
// token says so in OAuth's words.
func (r *Response) missing() bool {
	return (r.Status == http.StatusNotFound || r.Status == http.StatusGone) && r.Error() == ""
}

package authz

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"

	"scopeward/authz/token"
	"scopeward/authz/wire"
)

// Header is a header that an allowed request carries upstream. A client's own
// copies of it never pass.
type Header struct {
	name  string
	field string
	value func(*token.Identity) string // nil: that of the claim
	claim string

	reported *atomic.Bool // whether the log knows that its claim was left out
}

// identityFields are the names that a header's value may have.
var identityFields = map[string]func(*token.Identity) string{
	"identity.subject":   func(id *token.Identity) string { return id.Subject },
	"identity.email":     func(id *token.Identity) string { return id.Email },
	"identity.client_id": func(id *token.Identity) string { return id.ClientID },
	"identity.issuer":    func(id *token.Identity) string { return id.Issuer },
	"identity.provider":  func(id *token.Identity) string { return id.Provider },
	"identity.scopes":    (*token.Identity).ScopeText,
}

const claimPrefix = "identity.claims."

// IdentityFields returns the fields that NewHeader takes, sorted, without claims.
func IdentityFields() []string { return slices.Sorted(maps.Keys(identityFields)) }

// NewHeader returns the header name with the value of a field of the identity:
// identity.subject, .scopes (separated by spaces), .email, .client_id, .issuer,
// .provider, or .claims.NAME for a claim that is a string, a number, a boolean
// or a list of strings. A claim without such a form, or which others could read
// differently, is left out: see [token.Identity.ClaimText].
func NewHeader(name, field string) (Header, error) {
	name = strings.ToLower(name)
	if err := checkHeaderName(name); err != nil {
		return Header{}, err
	}
	if value, ok := identityFields[field]; ok {
		return Header{name: name, field: field, value: value}, nil
	}
	if claim, ok := strings.CutPrefix(field, claimPrefix); ok && claim != "" {
		return Header{name: name, field: field, claim: claim, reported: new(atomic.Bool)}, nil
	}
	known := append(IdentityFields(), claimPrefix+"NAME")
	slices.Sort(known)
	return Header{}, fmt.Errorf("header %s: %q is no field of an identity; use one of %s", name, field, strings.Join(known, ", "))
}

// checkHeaderName accepts a field name (RFC 9110 section 5.1) that an
// authorization service may set. Envoy ignores or mishandles the others.
func checkHeaderName(name string) error {
	notToken := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}
	if name == "" || strings.ContainsFunc(name, notToken) {
		return fmt.Errorf("%q is not a header name", name)
	}
	switch name {
	case "host", "authorization", "dpop", "connection", "content-length", "transfer-encoding", "te", "upgrade", "trailer":
		return fmt.Errorf("header %s belongs to the request itself; choose a name of your own, such as x-auth-subject", name)
	}
	// Envoy, proxies and services give these a meaning of their own.
	if strings.HasPrefix(name, "x-envoy-") || strings.HasPrefix(name, "x-forwarded-") || name == "x-request-id" || name == "forwarded" {
		return fmt.Errorf("header %s is read by Envoy and others as something else than an identity; choose a name of your own, such as x-auth-subject", name)
	}
	return nil
}

// identityHeaders adds the headers to set, and those to remove: each that
// is configured and not set, and each spelling of the client's that some
// servers read as one of them (x_auth_subject). A name is never in both lists,
// for Envoy would remove it.
func (s *Snapshot) identityHeaders(r *wire.Response, e *Event) {
	id := e.result.Identity
	for _, h := range s.Headers {
		value := ""
		switch {
		case id == nil:
		case h.value != nil:
			value = h.value(id)
		default:
			var fault string
			if value, fault = id.ClaimText(h.claim); fault != "" {
				e.leftOut = append(e.leftOut, leftOut{h, fault})
			}
		}
		// What could end the header line is not passed on, wherever it came from.
		if value == "" || strings.ContainsFunc(value, unicode.IsControl) {
			r.Remove = append(r.Remove, h.name)
			continue
		}
		r.Set = append(r.Set, wire.Header{Name: h.name, Value: value})
	}
	switch name := s.IdentityToken.Header; {
	case name == "":
	case e.vouched == nil:
		r.Remove = append(r.Remove, name)
	default:
		r.Set = append(r.Set, wire.Header{Name: name, Value: e.vouched.Text})
	}
	for _, h := range e.request.asked.Headers {
		if strings.IndexByte(h.Name, '_') >= 0 && s.shadowsHeader(h.Name) {
			r.Remove = append(r.Remove, h.Name)
		}
	}
}

// leftOut is a header that an allowed request does without.
type leftOut struct {
	Header
	fault string
}

// reportLeftOut says once of each header that is left out why it is; never with the value.
func (s *Server) reportLeftOut(e *Event) {
	for _, h := range e.leftOut {
		if !h.reported.Swap(true) {
			s.log.Warn("a header is left out of allowed requests, since its claim can't be passed on without doubt; further times are not logged",
				slog.String("header", h.name), slog.String("field", h.field), slog.String("reason", h.fault),
				slog.String("provider", e.result.Provider))
		}
	}
}

// shadowsHeader reports whether the name differs from a configured header's
// only by underscores for hyphens.
func (s *Snapshot) shadowsHeader(name string) bool {
	hyphens := strings.ReplaceAll(name, "_", "-")
	shadows := func(own string) bool { return own != name && strings.ReplaceAll(own, "_", "-") == hyphens }
	return shadows(s.IdentityToken.Header) || slices.ContainsFunc(s.Headers, func(h Header) bool { return shadows(h.name) })
}

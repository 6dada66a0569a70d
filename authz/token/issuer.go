package token

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Issuer is one iss, or a template of many: {claim} in it stands for one path segment that
// is not empty, and that is the token's claim of this name.
type Issuer struct {
	text     string
	segments []string // nil: the text alone
	tenants  []string // what a placeholder may stand for; nil: anything
}

// NewIssuer reads an issuer. tenants are the values of its placeholder; nil are any.
func NewIssuer(text string, tenants []string) (Issuer, error) {
	i := Issuer{text: text}
	if !strings.ContainsAny(text, "{}") {
		return i, nil
	}
	i.segments, i.tenants = strings.Split(text, "/"), tenants
	var names []string
	for _, s := range i.segments {
		name, isPlace := placeholder(s)
		switch {
		case !isPlace && strings.ContainsAny(s, "{}"):
			return Issuer{}, fmt.Errorf("a placeholder such as {tid} is a whole path segment, and %q is not", s)
		case isPlace && (name == "" || strings.ContainsAny(name, "{}")):
			return Issuer{}, errors.New("a placeholder names a claim, as in {tid}")
		case isPlace && slices.Contains(names, name):
			return Issuer{}, fmt.Errorf("the placeholder {%s} stands there twice", name)
		case isPlace:
			names = append(names, name)
		}
	}
	if _, isPlace := placeholder(i.segments[min(2, len(i.segments)-1)]); isPlace || len(i.segments) < 4 {
		return Issuer{}, errors.New("a placeholder stands in the path, not in the host")
	}
	return i, nil
}

func placeholder(segment string) (name string, ok bool) {
	if !strings.HasPrefix(segment, "{") || !strings.HasSuffix(segment, "}") {
		return "", false
	}
	return segment[1 : len(segment)-1], true
}

// String is the issuer as it is configured.
func (i Issuer) String() string { return i.text }

// Equal reports whether two issuers are the same, with their tenants.
func (i Issuer) Equal(other Issuer) bool {
	return i.text == other.text && slices.Equal(i.tenants, other.tenants) && (i.tenants == nil) == (other.tenants == nil)
}

// IsTemplate reports whether it has placeholders.
func (i Issuer) IsTemplate() bool { return i.segments != nil }

// takes reports whether a token of this iss and these claims is the issuer's.
func (i Issuer) takes(iss string, claims Claims) bool {
	if i.segments == nil {
		return iss == i.text && iss != ""
	}
	segments := strings.Split(iss, "/")
	if len(segments) != len(i.segments) {
		return false
	}
	for n, s := range i.segments {
		name, isPlace := placeholder(s)
		switch got := segments[n]; {
		case !isPlace && got != s, isPlace && (got == "" || claims.Text(name) != got):
			return false
		case isPlace && i.tenants != nil && !slices.Contains(i.tenants, got):
			return false
		}
	}
	return true
}

// Meets reports whether one iss may be of both issuers.
func (i Issuer) Meets(other Issuer) bool {
	a, b := strings.Split(i.text, "/"), strings.Split(other.text, "/")
	if len(a) != len(b) {
		return false
	}
	for n := range a {
		if !i.may(a[n], other, b[n]) {
			return false
		}
	}
	return true
}

func (i Issuer) may(own string, other Issuer, its string) bool {
	_, place := placeholder(own)
	_, otherPlace := placeholder(its)
	switch {
	case !place && !otherPlace:
		return own == its
	case place && !otherPlace:
		return i.tenants == nil || slices.Contains(i.tenants, its)
	case !place:
		return other.tenants == nil || slices.Contains(other.tenants, own)
	default:
		return i.tenants == nil || other.tenants == nil || slices.ContainsFunc(i.tenants, func(t string) bool { return slices.Contains(other.tenants, t) })
	}
}

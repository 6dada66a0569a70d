package token

import (
	"encoding/base64"
	"strings"
)

// Binding is what the holder of a token must show besides the token (RFC 7800). Each that
// is there must be shown.
type Binding struct {
	Key         string `json:"jkt,omitempty"`      // cnf.jkt: the SHA-256 thumbprint of a key (RFC 9449 §6.1), base64url
	Certificate string `json:"x5t#S256,omitempty"` // cnf["x5t#S256"]: that of a client certificate (RFC 8705 §3.1)
}

// String names what must be shown: dpop, mtls or both.
func (b *Binding) String() string {
	switch {
	case b == nil:
		return ""
	case b.Certificate == "":
		return "dpop"
	case b.Key == "":
		return "mtls"
	default:
		return "dpop+mtls"
	}
}

// Same reports whether two bindings ask for the same.
func (b *Binding) Same(other *Binding) bool {
	if b == nil || other == nil {
		return b == other
	}
	return *b == *other
}

// Binding is what the claims bind their token to; nil if they don't. Of several members
// of cnf those that nobody knows are passed over (RFC 7800 §3.1), but one that is known must
// be there. The error is an *[InvalidError].
func (c Claims) Binding() (*Binding, error) {
	text, present := c.find("cnf")
	if !present {
		return nil, nil
	}
	if !strings.HasPrefix(text, "{") {
		return nil, Invalidf("it is bound to something (cnf) that is not an object, and can't be shown")
	}
	cnf, err := ReadClaims([]byte(text))
	if err != nil {
		return nil, Invalidf("its cnf is not sound: %v", err)
	}
	b := &Binding{}
	for _, member := range [...]struct {
		name string
		to   *string
	}{{"jkt", &b.Key}, {"x5t#S256", &b.Certificate}} {
		if !cnf.Has(member.name) {
			continue
		}
		if *member.to = cnf.Text(member.name); !isThumbprint(*member.to) {
			return nil, Invalidf("%s in its cnf is not the SHA-256 of something in base64url", member.name)
		}
	}
	if *b == (Binding{}) {
		return nil, Invalidf("it is bound to something (cnf) of a kind that is not supported: jkt (DPoP) and x5t#S256 (mutual TLS) are")
	}
	return b, nil
}

// isThumbprint reports whether text is the one spelling of a SHA-256 in base64url: others
// compare it as text, too.
func isThumbprint(text string) bool {
	sum, err := decodeBase64(text)
	return err == nil && len(sum) == 32 && len(text) == base64.RawURLEncoding.EncodedLen(32)
}

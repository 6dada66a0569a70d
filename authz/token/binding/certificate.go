package binding

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
)

// checkCertificate holds the client's certificate against the thumbprint in the token
// (RFC 8705 §3). That the client has its private key, the handshake has shown.
func checkCertificate(thumbprint string, shown Shown) error {
	own, err := thumbprintOf(shown.Certificate)
	if shown.Forwarded != "" {
		own, err = thumbprintOfForwarded(shown.Forwarded)
	}
	if err != nil {
		return &Refusal{CheckCertificate, OfToken, "the token is bound to a certificate of its client (cnf.x5t#S256): " + err.Error()}
	}
	if own != thumbprint {
		return &Refusal{CheckCertificate, OfToken, "the token is bound to another certificate (cnf.x5t#S256) than that of the client"}
	}
	return nil
}

var errNoCertificate = errors.New("no certificate came with the request: ext_authz needs include_peer_certificate: true, and clients must have been asked for a certificate")

// thumbprintOf is the SHA-256 of a certificate that is PEM, URL-encoded.
func thumbprintOf(encoded string) (string, error) {
	if encoded == "" {
		return "", errNoCertificate
	}
	text, err := url.PathUnescape(encoded)
	if err != nil {
		return "", errors.New("the client's certificate can't be read")
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return "", errors.New("the client's certificate can't be read")
	}
	return encode(sha256.Sum256(block.Bytes)), nil
}

func encode(sum [sha256.Size]byte) string { return base64.RawURLEncoding.EncodeToString(sum[:]) }

var errForwarded = errors.New("x-forwarded-client-cert can't be read without doubt: have Envoy write it anew (forward_client_cert_details: SANITIZE_SET)")

// thumbprintOfForwarded is that of the last element of x-forwarded-client-cert, which the
// Envoy that asks has written; the hash of the client's certificate is always in it.
//
// Other elements, and the names in a certificate, may be anybody's text: an open quote, or a
// URI with a comma in it, could make a reader see other elements than Envoy has written.
// Where there is one hash, it is Envoy's whatever stands around it. Where there are several,
// nothing but what Envoy itself made up may be there.
func thumbprintOfForwarded(header string) (string, error) {
	const key = "Hash="
	at := strings.LastIndex(header, key)
	if at < 0 || at > 0 && !strings.ContainsRune(";,", rune(header[at-1])) {
		return "", errForwarded
	}
	if strings.Count(header, key) > 1 && !plainElements(header) {
		return "", errForwarded
	}
	hash, _, _ := strings.Cut(header[at+len(key):], ";")
	sum, err := hex.DecodeString(hash)
	if err != nil || len(sum) != sha256.Size {
		return "", errForwarded
	}
	return encode([sha256.Size]byte(sum)), nil
}

// plainElements reports whether each element has one hash, and nothing else that its client
// may have chosen.
func plainElements(header string) bool {
	for element := range strings.SplitSeq(header, ",") {
		hashes := 0
		for pair := range strings.SplitSeq(element, ";") {
			name, value, _ := strings.Cut(pair, "=")
			switch name {
			case "Hash":
				hashes++
			case "Cert", "Chain":
				value = strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`)
			case "By":
			default:
				return false
			}
			if strings.ContainsAny(value, "\"\\ =") {
				return false
			}
		}
		if hashes != 1 {
			return false
		}
	}
	return true
}

package token

import "strings"

// Scheme is the authentication scheme by which a token comes.
type Scheme uint8

// The schemes.
const (
	Bearer Scheme = iota // RFC 6750, and for a token that comes elsewhere
	DPoP                 // RFC 9449: with a proof of the key that the token is bound to
)

// String is the scheme as it stands in headers.
func (s Scheme) String() string {
	if s == DPoP {
		return "DPoP"
	}
	return "Bearer"
}

// ReadScheme reads the name of a scheme, which has no case.
func ReadScheme(name string) (s Scheme, known bool) {
	switch {
	case strings.EqualFold(name, "Bearer"):
		return Bearer, true
	case strings.EqualFold(name, "DPoP"):
		return DPoP, true
	default:
		return Bearer, false
	}
}

// FromAuthorization takes the token out of the value of an Authorization header
// (RFC 6750 §2.1, RFC 9449 §7.1). A longer one than so many bytes is refused. The error is
// a *[MissingError] or a *[MalformedError].
func FromAuthorization(header string, longest int) (raw string, scheme Scheme, err error) {
	// RFC 9110 §5.5: white space around a field value is not part of it.
	header = strings.Trim(header, " \t")
	if header == "" {
		return "", scheme, &MissingError{"there is no Authorization header, or it is empty"}
	}
	name, rest, _ := strings.Cut(header, " ")
	if !isScheme(name) {
		return "", scheme, &MalformedError{"it does not begin with an authentication scheme"}
	}
	scheme, known := ReadScheme(name)
	if !known {
		return "", scheme, &MissingError{"the authentication scheme is neither Bearer nor DPoP"}
	}
	raw = strings.TrimLeft(rest, " ")
	if raw == "" {
		return "", scheme, &MissingError{"there is no token after " + scheme.String()}
	}
	if fault := CheckRaw(raw, longest); fault != "" {
		return "", scheme, &MalformedError{fault}
	}
	return raw, scheme, nil
}

// CheckRaw says what is wrong with the form of a credential, wherever it was; "" if
// nothing is. It never shows a part of it.
func CheckRaw(raw string, longest int) (fault string) {
	switch {
	case len(raw) > longest:
		return tooLong(longest).Reason
	case isB64Token(raw):
		return ""
	case strings.Contains(raw, ","):
		// Envoy joins repeated headers with a comma, which no token may contain.
		return "the header with the token comes more than once, or there is a comma in the token"
	case strings.ContainsAny(raw, " \t"):
		return "there is white space in the token"
	default:
		return "the token has characters that RFC 6750 does not allow"
	}
}

func tooLong(most int) *InvalidError {
	return Invalidf("the token is longer than %d bytes (the provider's max_token_bytes)", most)
}

// isScheme tells whether s is an auth-scheme, which is a token of RFC 9110 §5.6.2.
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isAlphaNum(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// isB64Token tells whether s is a b64token of RFC 6750 §2.1. It looks at each
// byte of each token, so the characters are bits of two words.
func isB64Token(s string) bool {
	const (
		letters  = 1<<26 - 1
		below64  = 1<<'+' | 1<<'-' | 1<<'.' | 1<<'/' | (1<<10-1)<<'0'
		others   = letters<<('A'-64) | 1<<('_'-64) | letters<<('a'-64) | 1<<('~'-64)
		topASCII = 0x7f
	)
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		c, set := s[i], uint64(below64)
		if c&64 != 0 {
			set = others
		}
		if c > topASCII || set>>(c&63)&1 == 0 {
			return false
		}
	}
	return s != ""
}

func isAlphaNum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

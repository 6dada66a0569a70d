package policy

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// Path is a canonical path: decoded once, with nothing in it that two parties
// could read differently. The zero value matches no rule.
type Path struct {
	canonical string

	// encodedSlash: the path has %2F, which stays so in canonical. Nothing else
	// there is an escape, so %2F can't be mistaken.
	encodedSlash bool

	// escapedUnreserved: the path escapes a character that needs no escape, as in
	// /%61dmin. Whoever compares paths as they came, as Envoy's routes do, takes it for
	// another path than /admin.
	escapedUnreserved bool
}

// String gives the path, decoded once; an encoded slash is %2F.
func (p Path) String() string { return p.canonical }

// escaped gives the path in a form that net/url reads as this path.
func (p Path) escaped() string {
	segments := strings.Split(p.canonical, "/")
	for i, segment := range segments {
		parts := strings.Split(segment, encodedSlash)
		for j, part := range parts {
			parts[j] = url.PathEscape(part)
		}
		segments[i] = strings.Join(parts, encodedSlash)
	}
	return strings.Join(segments, "/")
}

const encodedSlash = "%2F"

// newPath makes a raw path canonical (RFC 3986 §6.2.2), or says why it is
// ambiguous.
func newPath(raw string) (Path, error) {
	switch {
	case raw == "":
		return Path{}, &RequestError{"the path is empty"}
	case raw == "*":
		return Path{}, &RequestError{"the path is *"}
	case raw[0] != '/':
		return Path{}, &RequestError{"the path does not start with a slash"}
	}
	if isPlain(raw) {
		return Path{canonical: raw}, checkSegments(raw, "")
	}
	decoded, escaped, err := decode(raw)
	if err != nil {
		return Path{}, err
	}
	if err := checkDecoded(decoded); err != nil {
		return Path{}, err
	}
	if err := checkSegments(decoded, keptSlash); err != nil {
		return Path{}, err
	}
	canonical := strings.ReplaceAll(decoded, keptSlash, encodedSlash)
	return Path{canonical: canonical, encodedSlash: len(canonical) != len(decoded), escapedUnreserved: escaped}, nil
}

// isPlain reports whether a raw path has only characters that need no look at
// more than their segments.
func isPlain(raw string) bool {
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c >= 0x7f || c == '%' || c == '\\' || c == ';' || c == '#' {
			return false
		}
	}
	return true
}

// keptSlash stands for %2F while a path is decoded: controls are refused.
const keptSlash = "\x00"

// decode resolves the escapes of a raw path, once, and reports whether one of them was
// for a character that needs none.
func decode(raw string) (decoded string, escapedUnreserved bool, _ error) {
	var out strings.Builder
	out.Grow(len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		escaped := c == '%'
		if escaped {
			if !isEscape(raw[i:]) {
				return "", false, &RequestError{"the path has an invalid percent-escape"}
			}
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			i += 2
		}
		switch {
		case c < ' ' || c == 0x7f:
			return "", false, &RequestError{"the path has a control character"}
		case c == '\\':
			return "", false, &RequestError{"the path has a backslash"}
		case c == ' ' && !escaped:
			return "", false, &RequestError{"the path has a space that is not escaped"}
		case c == '#' && !escaped:
			return "", false, &RequestError{"the path has a fragment"}
		case c == '.' && escaped:
			return "", false, &RequestError{"the path has an escaped dot (%2e)"}
		case c == '/' && escaped:
			out.WriteString(keptSlash)
		default:
			escapedUnreserved = escapedUnreserved || escaped && isUnreserved(c)
			out.WriteByte(c)
		}
	}
	return out.String(), escapedUnreserved, nil
}

func checkDecoded(decoded string) error {
	if !utf8.ValidString(decoded) {
		return &RequestError{"the path is not UTF-8"}
	}
	for i, r := range decoded {
		switch {
		case r >= 0x80 && r < 0xa0:
			return &RequestError{"the path has a control character"}
		case r == '%' && isEscape(decoded[i:]):
			return &RequestError{"the path is escaped twice"}
		}
	}
	return nil
}

// checkSegments refuses the segments that servers drop, resolve or merge.
// Besides a slash, separator separates as well, if it is not empty.
func checkSegments(path, separator string) error {
	for rest := path[1:]; ; {
		end := strings.IndexAny(rest, "/"+separator)
		segment, last := rest, end < 0
		if !last {
			segment = rest[:end]
		}
		name, _, hasParameters := strings.Cut(segment, ";")
		switch {
		case name == "." || name == "..":
			return &RequestError{"the path has a . or .. segment"}
		case name == "" && hasParameters:
			return &RequestError{"the path has a ; at the start of a segment"}
		case name == "" && (!last || separator != "" && strings.HasSuffix(path, separator)):
			return &RequestError{"the path has an empty segment (//)"}
		}
		if last {
			return nil
		}
		rest = rest[end+1:]
	}
}

// isEscape reports whether s starts with a percent-escape.
func isEscape(s string) bool {
	return len(s) >= 3 && s[0] == '%' && isHex(s[1]) && isHex(s[2])
}

// isUnreserved reports whether c means the same with and without an escape (RFC 3986 §2.3).
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}

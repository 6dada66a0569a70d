package credential

import (
	"strings"
	"unicode"
)

// likeness says how the name of a parameter or cookie relates to that of a credential.
type likeness uint8

const (
	other     likeness = iota
	similar            // some servers take it for the credential's: it doesn't go upstream
	disguised          // others may read it as the credential: the request is refused
	same
)

// likeness compares a name=value pair with the name of a credential. separators are
// characters within a pair that others take for its end.
func compare(pair, name, separators string) likeness {
	key, _, _ := strings.Cut(pair, "=")
	if key == name {
		return same
	}
	if decoded := unescape(key); decoded == name {
		return disguised
	} else if fold(decoded) == fold(name) {
		return similar
	}
	for piece := range strings.FieldsFuncSeq(pair, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		if key, _, _ = strings.Cut(piece, "="); unescape(key) == name {
			return disguised
		}
	}
	return other
}

// fold makes names equal that some servers don't tell apart: those of ASP.NET by case,
// those of PHP by dots, spaces, brackets and what follows a NUL.
func fold(name string) string {
	name, _, _ = strings.Cut(name, "\x00")
	if before, _, found := strings.Cut(name, "["); found && before != "" {
		name = before
	}
	name = strings.TrimFunc(name, unicode.IsSpace)
	return strings.ToLower(strings.NewReplacer(".", "_", " ", "_").Replace(name))
}

// unescape decodes a name as forms are decoded. What is no escape stays as it is.
func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			b.WriteByte(' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteByte(hex(s[i+1])<<4 | hex(s[i+2]))
			i += 2
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func hex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// nearest is the greatest likeness of a pair to a credential of a kind.
func (p *Places) nearest(k Kind, pair, separators string) likeness {
	most := other
	for i := range p.List {
		if p.List[i].Kind == k {
			most = max(most, compare(pair, p.List[i].Name, separators))
		}
	}
	return most
}

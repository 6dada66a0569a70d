package answer

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Values are what stands in the place of placeholders.
type Values struct {
	Code, Error, Message, Scopes string
	URL                          string // of the request, without its credential
	RequestID                    string
}

// Template makes a text of the values of a request. nil is no template.
type Template func(*Values) string

// MistakeError is a mistake in a template, with the number of bytes before it.
type MistakeError struct {
	Offset int
	Reason string
}

func (e *MistakeError) Error() string { return e.Reason }

// field is a placeholder: how it is written, and what it stands for.
type field struct {
	name string
	of   func(*Values) string
}

func fields() []field {
	text := func(of func(*Values) string) func(*Values) string {
		return func(v *Values) string { return strings.ToValidUTF8(of(v), "\uFFFD") }
	}
	return []field{
		{"code", text(func(v *Values) string { return v.Code })},
		{"error", text(func(v *Values) string { return v.Error })},
		{"message", text(func(v *Values) string { return v.Message })},
		{"scopes", text(func(v *Values) string { return v.Scopes })},
		{"url", text(func(v *Values) string { return v.URL })},
		{"request_id", text(func(v *Values) string { return v.RequestID })},
	}
}

// Placeholders are the names that a template may have in braces.
func Placeholders() []string {
	var names []string
	for _, f := range fields() {
		names = append(names, f.name)
	}
	return names
}

// piece is a literal, or a placeholder.
type piece struct {
	literal string
	field   *field
	offset  int
}

var placeholder = regexp.MustCompile(`\{[A-Za-z_][A-Za-z0-9_]*\}`)

// parse splits a template. Braces around anything but a name are literal.
func parse(text string) ([]piece, error) {
	var pieces []piece
	known, last := fields(), 0
	for _, at := range placeholder.FindAllStringIndex(text, -1) {
		name := text[at[0]+1 : at[1]-1]
		i := slices.IndexFunc(known, func(f field) bool { return f.name == name })
		if i < 0 {
			return nil, &MistakeError{at[0], fmt.Sprintf("there is no placeholder {%s}: it must be one of {%s}; for literal braces write { %[1]s }",
				name, strings.Join(Placeholders(), "}, {"))}
		}
		pieces = append(pieces, piece{literal: text[last:at[0]], offset: last}, piece{field: &known[i], offset: at[0]})
		last = at[1]
	}
	return append(pieces, piece{literal: text[last:], offset: last}), nil
}

// escaped makes a template whose values are escaped.
func escaped(pieces []piece, escape func(string) string) Template {
	return func(v *Values) string {
		var b strings.Builder
		for _, p := range pieces {
			if b.WriteString(p.literal); p.field != nil {
				b.WriteString(escape(p.field.of(v)))
			}
		}
		return b.String()
	}
}

// NewHeaderValue compiles the value of a header.
func NewHeaderValue(text string) (Template, error) {
	if at := strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }); at >= 0 {
		return nil, &MistakeError{at, "a header's value is printable ASCII"}
	}
	pieces, err := parse(text)
	if err != nil {
		return nil, err
	}
	return escaped(pieces, escapeHeader), nil
}

// escapeHeader encodes what no header can have, and what would begin another element,
// parameter or value in it.
func escapeHeader(s string) string { return percentEncode(s, `",;<>\`) }

func percentEncode(s, more string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && strings.IndexByte(more, c) < 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// CheckHeader says why an answer can't have a header of that name; "" if it can.
func CheckHeader(name string) string {
	switch {
	case !headerName.MatchString(name):
		return "it is not the name of a header"
	case name == "content-type":
		return "write content_type"
	case name == "location":
		return "write redirect"
	case strings.HasPrefix(name, "ratelimit-") || slices.Contains([]string{"www-authenticate", "retry-after", "cache-control", "vary", "x-content-type-options"}, name):
		return "Scopeward sets it itself"
	case strings.HasPrefix(name, "x-envoy-") || slices.Contains([]string{
		"connection", "content-length", "transfer-encoding", "trailer", "te", "upgrade", "keep-alive", "proxy-connection", "host", "date", "server", "grpc-status",
	}, name):
		return "it belongs to the connection, or to Envoy"
	}
	return ""
}

var headerName = regexp.MustCompile("^[a-z0-9!#$%&'*+.^_`|~-]+$")

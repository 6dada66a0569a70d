package answer

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"mime"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ContentType gives a content type as it is sent: with its charset.
func ContentType(written string) (string, error) {
	kind, params, err := mime.ParseMediaType(written)
	if err != nil || !isMediaType(kind) {
		return "", fmt.Errorf("%q is no media type: write one as in text/html or application/problem+json", written)
	}
	switch charset, given := params["charset"]; {
	case given && !strings.EqualFold(charset, "utf-8"):
		return "", fmt.Errorf("the charset is %q: answers are UTF-8, leave it out", charset)
	case !given && strings.HasPrefix(kind, "text/"):
		params["charset"] = "utf-8"
	}
	return mime.FormatMediaType(kind, params), nil
}

// MediaType reads a media type without parameters and wildcards.
func MediaType(written string) (string, error) {
	lower := strings.ToLower(written)
	if !isMediaType(lower) {
		return "", fmt.Errorf("%q is no media type without parameters and wildcards: write one as in text/html", written)
	}
	return lower, nil
}

var mediaTypeSyntax = regexp.MustCompile(`^[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+$`)

func isMediaType(s string) bool { return mediaTypeSyntax.MatchString(s) }

func mediaType(contentType string) string {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.TrimSpace(kind)
}

// MaxBody is the longest body of an answer, in bytes.
const MaxBody = 64 << 10

// NewBody compiles a body of a content type.
func NewBody(contentType, text string) (Template, error) {
	switch at := strings.IndexFunc(text, func(r rune) bool { return r == utf8.RuneError || r < ' ' && !strings.ContainsRune("\t\r\n\f", r) }); {
	case len(text) > MaxBody:
		return nil, fmt.Errorf("it has %d bytes: the body of an answer has at most %d", len(text), MaxBody)
	case at >= 0:
		return nil, &MistakeError{at, "here is a byte that is no UTF-8, or a control character: answers are text"}
	}
	pieces, err := parse(text)
	if err != nil {
		return nil, err
	}
	switch kind := mediaType(contentType); {
	case kind == JSON || strings.HasSuffix(kind, "+json"):
		body := escaped(pieces, escapeJSON)
		if !json.Valid([]byte(body(hostile()))) {
			return nil, invalidJSON(text, pieces)
		}
		return body, nil
	case len(pieces) == 1:
		return func(*Values) string { return text }, nil
	case kind == "text/html" || kind == "application/xhtml+xml":
		return newHTML(pieces)
	case isXML(kind) && !script.MatchString(text):
		return escaped(pieces, escapeXML), nil
	case kind == "text/plain":
		return escaped(pieces, printable), nil
	case kind == "application/x-www-form-urlencoded":
		return escaped(pieces, url.QueryEscape), nil
	default:
		return nil, &MistakeError{pieces[1].offset, fmt.Sprintf("there is no safe way to put a placeholder into this body of type %s: "+
			"use HTML, XML without scripts, JSON or text/plain, or leave placeholders out", kind)}
	}
}

// In the scripts of XML, unlike in those of HTML, what is escaped for XML is not escaped.
var script = regexp.MustCompile(`(?i)script|<([a-z]+:)?svg`)

func isXML(kind string) bool {
	return kind != "image/svg+xml" && (strings.HasSuffix(kind, "/xml") || strings.HasSuffix(kind, "+xml"))
}

// invalidJSON says where a body is no JSON, or where a placeholder makes it none.
func invalidJSON(text string, pieces []piece) error {
	var v any
	harmless := placeholder.ReplaceAllStringFunc(text, func(s string) string { return strings.Repeat("1", len(s)) }) // offsets stay
	if syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal([]byte(harmless), &v)); ok {
		return &MistakeError{max(0, int(syntax.Offset)-1), fmt.Sprintf("the body is no JSON: %v; write JSON, or set content_type", syntax)}
	}
	return &MistakeError{pieces[min(1, len(pieces)-1)].offset, "a placeholder stands outside of a JSON string: put it in quotes"}
}

// newHTML leaves it to html/template to escape values for where they stand: text, an
// attribute, an address or a script.
func newHTML(pieces []piece) (Template, error) {
	const left, right = "\x01\x02", "\x02\x01" // no body has these
	var text strings.Builder
	for _, p := range pieces {
		if text.WriteString(p.literal); p.field != nil {
			text.WriteString(left + "." + p.field.name + right)
		}
	}
	page, err := template.New("").Delims(left, right).Parse(text.String())
	if err != nil {
		return nil, err
	}
	fill := func(v *Values) (string, error) {
		values := map[string]string{}
		for _, f := range fields() {
			values[f.name] = f.of(v)
		}
		var b strings.Builder
		err := page.Execute(&b, values)
		return b.String(), err
	}
	if _, err := fill(hostile()); err != nil { // contexts are found at the first time
		return nil, htmlMistake(err, pieces)
	}
	return func(v *Values) string {
		body, err := fill(v)
		if err != nil { // the first time there was none
			return template.HTMLEscapeString(v.Error)
		}
		return body
	}, nil
}

// htmlMistake is an error of html/template, at the first placeholder of its line.
func htmlMistake(err error, pieces []piece) error {
	mistake := &MistakeError{pieces[1].offset, "a placeholder can't be escaped where it stands in this page: put it into text or a quoted attribute"}
	e, ok := errors.AsType[*template.Error](err)
	if !ok {
		return mistake
	}
	mistake.Reason += " (" + strings.NewReplacer("\x01\x02.", "{", "\x02\x01", "}").Replace(e.Description) + ")"
	line := 1
	for _, p := range pieces {
		if line += strings.Count(p.literal, "\n"); p.field != nil && line == e.Line {
			mistake.Offset = p.offset
			break
		}
	}
	return mistake
}

func escapeJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil || len(b) < 2 { // text always marshals
		return ""
	}
	return string(b[1 : len(b)-1])
}

func escapeXML(s string) string {
	var b strings.Builder
	if xml.EscapeText(&b, []byte(s)) != nil { // a Builder takes everything
		return ""
	}
	return b.String()
}

// printable is text on one line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// hostile are values with what would break out of any place.
func hostile() *Values {
	const s = "\"'`<>&\\;/*?#%{}\r\n x"
	return &Values{s, s, s, s, s, s}
}

package strictyaml

import (
	"go.yaml.in/yaml/v4"
)

// Text is a string that knows where each of its characters stands in the file,
// for values that are a language of their own. Its zero value is empty.
type Text struct {
	Value string
	Pos   Pos // of the YAML scalar

	source *source
	style  yaml.Style
}

// At gives the place of the byte at offset in the value; an offset at the end
// is allowed. Where quoting makes that too hard to tell, it is Pos.
func (t Text) At(offset int) Pos {
	if t.source == nil || offset < 0 || offset > len(t.Value) {
		return t.Pos
	}
	at, ok := t.align(offset)
	if !ok {
		return t.Pos
	}
	return t.source.pos(at, t.Pos.Line)
}

// align walks along the value and the text it was written as, in step. White
// space matches any white space, as folding and indentation change it.
func (t Text) align(offset int) (at int, ok bool) {
	data := t.source.data
	at = t.source.offset(t.Pos.Line, t.Pos.Column)
	block := t.style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
	quoted := t.style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	switch {
	case at < 0:
		return 0, false
	case block: // the text starts on the line after the indicator
		if t.Pos.Line >= len(t.source.lines) {
			return 0, false
		}
		at = skipSpace(data, t.source.lines[t.Pos.Line])
	case quoted:
		if at++; at > len(data) {
			return 0, false
		}
	}
	i := 0
	if block {
		i = skipSpace([]byte(t.Value), 0)
	}
	for i < offset {
		switch c := t.Value[i]; {
		case isSpace(c):
			next := skipSpace(data, at)
			if next == at {
				return 0, false
			}
			i, at = skipSpace([]byte(t.Value), i), next
			continue
		case at >= len(data):
			return 0, false
		case quoted && escapes(data[at:], c, t.style):
			at += 2
		case data[at] == c:
			at++
		default:
			return 0, false
		}
		i++
	}
	return at, true
}

// escapes reports whether text starts with a two-byte escape of c.
func escapes(text []byte, c byte, style yaml.Style) bool {
	if len(text) < 2 || text[1] != c {
		return false
	}
	if style&yaml.SingleQuotedStyle != 0 {
		return c == '\'' && text[0] == '\''
	}
	return text[0] == '\\' && (c == '"' || c == '\\' || c == '/')
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func skipSpace(data []byte, at int) int {
	for at < len(data) && isSpace(data[at]) {
		at++
	}
	return at
}

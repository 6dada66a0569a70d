package token

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds the nesting of JSON that others wrote: claims and provider
// answers are nearly flat, and whoever walks them later may recurse.
const maxDepth = 32

// Claims are the members of a JSON object, as somebody else wrote it: most tokens are
// asked for few of their claims, and to decode them all would cost more than all that is
// asked. The zero value has none. Nobody changes them; make them with [ReadClaims] or
// [NewClaims].
type Claims struct {
	text    string
	members []claim
}

type claim struct{ name, text string }

// ReadClaims reads one JSON object strictly (RFC 7493): valid UTF-8, no repeated
// member, numbers that a float64 holds, nothing after it, at most 32 levels deep. Its
// error never contains anything of the data.
func ReadClaims(data []byte) (Claims, error) {
	if k := jsontext.Value(bytes.TrimLeft(data, " \t\r\n")).Kind(); k != jsontext.KindBeginObject {
		return Claims{}, errors.New("it is not a JSON object")
	}
	r := claimReader{Claims{text: string(data)}}
	err := json.Unmarshal(data, &r)
	switch {
	case err == nil:
		return r.Claims, nil
	case errors.Is(err, errTooDeep):
		return Claims{}, errTooDeep
	case errors.Is(err, jsontext.ErrDuplicateName):
		return Claims{}, errors.New("a JSON member is repeated")
	default:
		return Claims{}, errors.New("the JSON is broken")
	}
}

// NewClaims makes claims of what was decoded by [Claims.Map], or could have been.
func NewClaims(decoded map[string]any) (Claims, error) {
	var value any = decoded // the library encodes it without reflection
	data, err := json.Marshal(&value)
	if err != nil {
		return Claims{}, err
	}
	return ReadClaims(data)
}

// Has tells whether there is a claim, if only null.
func (c Claims) Has(name string) bool {
	_, present := c.find(name)
	return present
}

// Get decodes one claim: it is nil, a bool, a float64, a string, a []any or a
// map[string]any.
func (c Claims) Get(name string) (value any, present bool) {
	text, present := c.find(name)
	if !present {
		return nil, false
	}
	return decode(text), true
}

// Text is a claim that is a string, else "".
func (c Claims) Text(name string) string {
	value, _ := c.Get(name)
	s, _ := value.(string)
	return s
}

// Texts is a claim that is an array of strings. They share the memory of the claims.
func (c Claims) Texts(name string) (texts []string, ok bool) {
	text, _ := c.find(name)
	rest, isArray := strings.CutPrefix(text, "[")
	for isArray {
		rest = nextValue(rest)
		if rest[0] != '"' {
			return texts, rest == "]" // what was read ends there
		}
		end := 1
		for ; rest[end] != '"'; end++ {
			if rest[end] == '\\' {
				end++
			}
		}
		texts, rest = append(texts, unquote(rest[:end+1])), rest[end+1:]
	}
	return nil, false
}

// Map decodes all claims. The map is the caller's own; it is nil if there are none.
func (c Claims) Map() map[string]any {
	object, _ := decodeAny(c.text).(map[string]any)
	return object
}

func (c Claims) find(name string) (text string, present bool) {
	for i := range c.members {
		if c.members[i].name == name {
			return c.members[i].text, true
		}
	}
	return "", false
}

// decode decodes JSON that was read already. What it returns holds on to nothing of it.
func decode(text string) any {
	switch jsontext.Value(text[:1]).Kind() {
	case jsontext.KindString:
		return strings.Clone(unquote(text))
	case jsontext.KindNumber:
		f, _ := strconv.ParseFloat(text, 64)
		return f
	case jsontext.KindTrue:
		return true
	case jsontext.KindFalse:
		return false
	case jsontext.KindNull:
		return nil
	default:
		return decodeAny(text)
	}
}

func decodeAny(text string) (value any) {
	_ = json.Unmarshal([]byte(text), &value) // without reflection
	return value
}

func unquote(text string) string {
	if strings.IndexByte(text, '\\') < 0 {
		return text[1 : len(text)-1]
	}
	s, _ := jsontext.AppendUnquote(nil, text)
	return string(s)
}

var errTooDeep = errors.New("the JSON is nested too deeply")

// claimReader reads claims of which it has the text already.
type claimReader struct{ Claims }

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (r *claimReader) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	r.members = make([]claim, 0, 16)
	for dec.PeekKind() != jsontext.KindEndObject {
		quoted, err := r.value(dec)
		if err != nil {
			return err
		}
		text, err := r.value(dec)
		if err != nil {
			return err
		}
		r.members = append(r.members, claim{unquote(quoted), text})
	}
	_, err := dec.ReadToken()
	return err
}

// value reads the name of a member, or its value.
func (r *claimReader) value(dec *jsontext.Decoder) (text string, err error) {
	outside, before := dec.StackDepth(), dec.InputOffset()
	for more := true; more; more = dec.StackDepth() > outside {
		token, err := dec.ReadToken()
		switch {
		case err != nil:
			return "", err
		case dec.StackDepth() > maxDepth:
			return "", errTooDeep
		case token.Kind() == jsontext.KindNumber:
			if _, err := token.Float(); err != nil {
				return "", err
			}
		}
	}
	return nextValue(r.text[before:dec.InputOffset()]), nil
}

// nextValue skips what may stand between two values.
func nextValue(text string) string {
	i := 0
	for i < len(text) && (text[i] <= ' ' || text[i] == ',' || text[i] == ':') {
		i++
	}
	return text[i:]
}

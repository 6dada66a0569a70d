package token

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"scopeward/internal/exactjson"
)

// maxDepth bounds the nesting of JSON that others wrote: claims and provider
// answers are nearly flat, and whoever walks them later may recurse.
const maxDepth = 32

// Claims are the members of a JSON object, as somebody else wrote it: most tokens are
// asked for few of their claims, and to decode them all would cost more than all that is
// asked. The zero value has none. Nobody changes them; make them with [ReadClaims] or
// [NewClaims].
type Claims struct{ members []claim }

type claim struct{ name, text string }

// ReadClaims reads one JSON object strictly (RFC 7493): valid UTF-8, no repeated
// member, numbers that a float64 holds, nothing after it, at most 32 levels deep. Its
// error never contains anything of the data.
func ReadClaims(data []byte) (Claims, error) {
	if k := jsontext.Value(bytes.TrimLeft(data, " \t\r\n")).Kind(); k != jsontext.KindBeginObject {
		return Claims{}, errors.New("it is not a JSON object")
	}
	r := claimReader{text: string(data)}
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
	data, err := stdjson.Marshal(decoded)
	if err != nil {
		return Claims{}, err
	}
	return ReadClaims(data)
}

// Has reports whether there is a claim, if only null.
func (c Claims) Has(name string) bool {
	_, present := c.find(name)
	return present
}

// States reports whether there is a claim that is not null: null is absent, but for the
// few claims where to take it so would open something.
func (c Claims) States(name string) bool {
	text, present := c.find(name)
	return present && text != "null"
}

// Get decodes one claim. It is nil, a bool, a string, a []any, a map[string]any, or a
// number as [Claims.Map] has it. A claim that is null is present.
func (c Claims) Get(name string) (value any, present bool) {
	text, present := c.find(name)
	if !present {
		return nil, false
	}
	value, _ = decode(strings.Clone(text)) // so that it holds on to nothing of the claims
	return value, true
}

// JSON is a claim as it was written; "" if there is none.
func (c Claims) JSON(name string) (text string, present bool) { return c.find(name) }

// Text is a claim that is a string, else "".
func (c Claims) Text(name string) string {
	value, _ := c.Get(name)
	s, _ := value.(string)
	return s
}

// Texts are the strings of a claim that is an array; others reports whether it has
// elements of another type. They share the memory of the claims.
func (c Claims) Texts(name string) (texts []string, others, ok bool) {
	text, _ := c.find(name)
	rest, isArray := strings.CutPrefix(text, "[")
	for isArray {
		switch rest = nextValue(rest); rest[0] {
		case ']':
			return texts, others, true
		case '"':
			var quoted string
			quoted, rest = cutString(rest)
			texts = append(texts, unquote(quoted))
		default:
			_, rest = decode(rest)
			others = true
		}
	}
	return nil, false, false
}

// Map decodes all claims. The map is the caller's own; it is nil if there are none. A
// number without fraction and exponent is an int64, else a uint64; another one is a
// float64. What does not fit, or would as a float64 be the same as its neighbours, is a
// [stdjson.Number].
func (c Claims) Map() map[string]any {
	if c.members == nil {
		return nil
	}
	all := make(map[string]any, len(c.members))
	for _, m := range c.members {
		all[m.name], _ = decode(m.text)
	}
	return all
}

// Over adds these claims to others, and replaces those that are in both. A claim that is
// null replaces none, but for email_verified: null is not verified.
func (c Claims) Over(others Claims) Claims {
	merged := slices.Clone(others.members)
	for _, m := range c.members {
		i := slices.IndexFunc(merged, func(o claim) bool { return o.name == m.name })
		switch {
		case i < 0:
			merged = append(merged, m)
		case m.text != "null" || m.name == "email_verified":
			merged[i] = m
		}
	}
	return Claims{merged}
}

// Only are the claims of these names.
func (c Claims) Only(names ...string) Claims {
	return c.filter(func(name string) bool { return slices.Contains(names, name) })
}

// Without are the claims but those of these names.
func (c Claims) Without(names ...string) Claims {
	return c.filter(func(name string) bool { return !slices.Contains(names, name) })
}

func (c Claims) filter(keep func(name string) bool) Claims {
	kept := make([]claim, 0, len(c.members)+1)
	for _, m := range c.members {
		if keep(m.name) {
			kept = append(kept, m)
		}
	}
	return Claims{kept}
}

// Copied has under one name what it has under another.
func (c Claims) Copied(from, to string) Claims {
	text, present := c.find(from)
	if !present {
		return c
	}
	return c.with(to, text)
}

// with replaces a claim by JSON that is known to be sound.
func (c Claims) with(name, text string) Claims {
	changed := c.Without(name)
	changed.members = append(changed.members, claim{name, text})
	return changed
}

func (c Claims) find(name string) (text string, present bool) {
	for i := range c.members {
		if c.members[i].name == name {
			return c.members[i].text, true
		}
	}
	return "", false
}

// decode decodes a JSON value that was read already, and gives what stands behind it.
// Strings share its memory.
func decode(text string) (value any, rest string) {
	switch text[0] {
	case '"':
		quoted, rest := cutString(text)
		return unquote(quoted), rest
	case '{':
		object := map[string]any{}
		for text = nextValue(text[1:]); text[0] != '}'; text = nextValue(text) {
			var name string
			name, text = cutString(text)
			object[unquote(name)], text = decode(nextValue(text))
		}
		return object, text[1:]
	case '[':
		list := []any{}
		for text = nextValue(text[1:]); text[0] != ']'; text = nextValue(text) {
			var element any
			element, text = decode(text)
			list = append(list, element)
		}
		return list, text[1:]
	case 't':
		return true, text[len("true"):]
	case 'f':
		return false, text[len("false"):]
	case 'n':
		return nil, text[len("null"):]
	default:
		end := strings.IndexAny(text, ",]} \t\r\n")
		if end < 0 {
			end = len(text)
		}
		return exactjson.Number(text[:end]), text[end:]
	}
}

// cutString cuts a JSON string off the text that begins with it.
func cutString(text string) (quoted, rest string) {
	end := 1
	for ; text[end] != '"'; end++ {
		if text[end] == '\\' {
			end++
		}
	}
	return text[:end+1], text[end+1:]
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
type claimReader struct {
	Claims
	text string
}

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

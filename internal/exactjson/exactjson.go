// Package exactjson reads JSON that somebody else wrote so that nobody reads it otherwise:
// strictly, and with all digits of its numbers.
package exactjson

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds the nesting: whoever walks the value may recurse.
const maxDepth = 64

// The errors of Read. They have nothing of what was read in them.
var (
	ErrBroken   = errors.New("it is not JSON in UTF-8 (RFC 8259)")
	ErrRepeated = errors.New("a member of an object is repeated, or differs from another one in case only")
	ErrDeep     = errors.New("it is nested too deep")
)

// Read reads one JSON text as encoding/json does into an any, with numbers as [Number] has
// them. It takes only what all readers read alike: valid UTF-8, nothing after the value, and
// objects whose members differ by more than case, since some readers ignore that.
func Read(text string) (any, error) {
	r := reader{jsontext.NewDecoder(strings.NewReader(text))}
	value, err := r.value()
	if err == nil {
		if _, err = r.ReadToken(); err == io.EOF {
			return value, nil
		}
	}
	switch {
	case errors.Is(err, ErrDeep):
		return nil, ErrDeep
	case errors.Is(err, ErrRepeated), errors.Is(err, jsontext.ErrDuplicateName):
		return nil, ErrRepeated
	default:
		return nil, ErrBroken
	}
}

type reader struct{ *jsontext.Decoder }

func (r reader) value() (any, error) {
	token, err := r.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case jsontext.KindBeginObject:
		return r.object()
	case jsontext.KindBeginArray:
		return r.array()
	case jsontext.KindString:
		return token.String(), nil
	case jsontext.KindNumber:
		return Number(token.String()), nil
	case jsontext.KindTrue, jsontext.KindFalse:
		return token.Bool(), nil
	default:
		return nil, nil
	}
}

func (r reader) object() (any, error) {
	if r.StackDepth() > maxDepth {
		return nil, ErrDeep
	}
	members, names := map[string]any{}, map[string]bool{}
	for r.PeekKind() != jsontext.KindEndObject {
		token, err := r.ReadToken()
		if err != nil {
			return nil, err
		}
		name := token.String()
		folded := fold(name)
		if names[folded] {
			return nil, ErrRepeated
		}
		names[folded] = true
		if members[name], err = r.value(); err != nil {
			return nil, err
		}
	}
	_, err := r.ReadToken()
	return members, err
}

func (r reader) array() (any, error) {
	if r.StackDepth() > maxDepth {
		return nil, ErrDeep
	}
	elements := []any{}
	for r.PeekKind() != jsontext.KindEndArray {
		element, err := r.value()
		if err != nil {
			return nil, err
		}
		elements = append(elements, element)
	}
	_, err := r.ReadToken()
	return elements, err
}

// fold makes names equal that strings.EqualFold takes for equal, as encoding/json does.
func fold(name string) string {
	return strings.Map(func(c rune) rune {
		least := c
		for next := unicode.SimpleFold(c); next != c; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}

// Number reads a number of JSON exactly, or leaves it as it is: without fraction and
// exponent it is an int64, else a uint64; another one is a float64. What does not fit is a
// [json.Number], and so is a float64 from 2^53 to 2^64: conditions compare it with integers,
// of which several are equal to it.
func Number(text string) any {
	if IsInteger(text) {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return i
		}
		if u, err := strconv.ParseUint(text, 10, 64); err == nil {
			return u
		}
		return json.Number(text)
	}
	f, err := strconv.ParseFloat(text, 64)
	if size := math.Abs(f); err != nil || 1<<53 <= size && size < 1<<64 {
		return json.Number(text)
	}
	return f
}

// IsInteger reports whether a number of JSON has neither fraction nor exponent.
func IsInteger(number string) bool { return !strings.ContainsAny(number, ".eE") }

package exactjson_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"scopeward/internal/exactjson"
)

func TestRead(t *testing.T) {
	for text, want := range map[string]any{
		` {"a": [1, 2.5, "x", true, false, null, {}]} `: map[string]any{"a": []any{int64(1), 2.5, "x", true, false, nil, map[string]any{}}},
		`9223372036854775808`:                           uint64(9223372036854775808),
		`123456789012345678901234567890`:                json.Number("123456789012345678901234567890"),
		`9007199254740993.0`:                            json.Number("9007199254740993.0"),
		`1e999`:                                         json.Number("1e999"),
		`"\u0061\ud83d\ude00"`:                          "a😀",
		`[]`:                                            []any{},
		`null`:                                          nil,
		strings.Repeat("[", 64) + strings.Repeat("]", 64): nested(64),
	} {
		got, err := exactjson.Read(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%.60s: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]error{
		``: exactjson.ErrBroken, ` `: exactjson.ErrBroken, `{`: exactjson.ErrBroken, `{} {}`: exactjson.ErrBroken, `{},`: exactjson.ErrBroken,
		`{"a":1,}`: exactjson.ErrBroken, `{a:1}`: exactjson.ErrBroken, `{'a':1}`: exactjson.ErrBroken, "{}//": exactjson.ErrBroken, `NaN`: exactjson.ErrBroken,
		`01`: exactjson.ErrBroken, "\xef\xbb\xbf{}": exactjson.ErrBroken, "\"\xff\"": exactjson.ErrBroken, `"\ud800"`: exactjson.ErrBroken, "\"\x00\"": exactjson.ErrBroken,
		"{}\x00":                   exactjson.ErrBroken,
		`{"a":1,"a":1}`:            exactjson.ErrRepeated,
		`{"a":1,"\u0061":2}`:       exactjson.ErrRepeated,
		`{"method":1,"Method":2}`:  exactjson.ErrRepeated,
		`{"b":{"k":1,"\u212a":2}}`: exactjson.ErrRepeated, // the Kelvin sign
		`[{"s":1,"ſ":2}]`:          exactjson.ErrRepeated,
		strings.Repeat("[", 65) + strings.Repeat("]", 65):           exactjson.ErrDeep,
		strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65): exactjson.ErrDeep,
		strings.Repeat("[", 100_000):                                exactjson.ErrDeep,
	} {
		if got, err := exactjson.Read(text); !errors.Is(err, want) || got != nil {
			t.Errorf("%.60q: %v, %v; want %v", text, got, err, want)
		}
	}
}

func nested(depth int) any {
	value := any([]any{})
	for range depth - 1 {
		value = []any{value}
	}
	return value
}

// FuzzRead: what is read is read alike by encoding/json, and what that refuses is refused.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{`{"method":"tools/call","params":{"name":"x"}}`, `[1,2.5,1e3]`, `{"a":1,"A":2}`, "\"\xff\"", `{} {}`, `"\ud800"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := exactjson.Read(text)
		if err != nil {
			return
		}
		if !utf8.ValidString(text) {
			t.Fatalf("%q is not UTF-8", text)
		}
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		var theirs any
		if err := decoder.Decode(&theirs); err != nil {
			t.Fatalf("%q: encoding/json: %v", text, err)
		}
		if theirs = exact(theirs); !reflect.DeepEqual(theirs, value) {
			t.Fatalf("%q: %v, encoding/json has %v", text, value, theirs)
		}
	})
}

func exact(value any) any {
	switch v := value.(type) {
	case json.Number:
		return exactjson.Number(v.String())
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = exact(v[name])
		}
	}
	return value
}

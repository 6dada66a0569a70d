// Package expression is what the CEL expressions of policies and of scopeward.yaml have in
// common: their values, their errors, and what is said of mistakes in them.
package expression

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// JSON gives the values of JSON that somebody else wrote. A number that fits neither int,
// uint nor double makes the evaluation fail where it is used: to round it would make it
// another's.
type JSON struct{}

// NativeToValue implements [types.Adapter].
func (v JSON) NativeToValue(value any) ref.Val {
	switch value := value.(type) {
	case json.Number:
		return types.NewErr("a number is too large, or not exact")
	case map[string]any:
		return types.NewStringInterfaceMap(v, value)
	case []any:
		if slices.ContainsFunc(value, inexact) { // else it would be just another element
			return types.NewErr("a number in a list is too large, or not exact")
		}
		return types.NewDynamicList(v, value)
	default:
		return types.DefaultTypeAdapter.NativeToValue(value)
	}
}

// inexact reports whether a value is such a number, or a list with one.
func inexact(value any) bool {
	switch value := value.(type) {
	case json.Number:
		return true
	case []any:
		return slices.ContainsFunc(value, inexact)
	default:
		return false
	}
}

// maxDepth bounds the nesting of what an expression gives.
const maxDepth = 32

// Native makes of what an expression gives what encoding/json would, with whole numbers
// as int64 or uint64. An optional value that is absent is nil.
func Native(value ref.Val) (any, error) { return native(value, maxDepth) }

func native(value ref.Val, depth int) (any, error) {
	if depth == 0 {
		return nil, errors.New("it is nested too deep")
	}
	switch value := value.(type) {
	case *types.Optional:
		if !value.HasValue() {
			return nil, nil
		}
		return native(value.GetValue(), depth-1)
	case types.Null:
		return nil, nil
	case types.Bool, types.String, types.Int, types.Uint, types.Double:
		return value.Value(), nil
	case traits.Lister:
		list := []any{}
		for it := value.Iterator(); it.HasNext() == types.True; {
			element, err := native(it.Next(), depth-1)
			if err != nil {
				return nil, err
			}
			list = append(list, element)
		}
		return list, nil
	case traits.Mapper:
		object := map[string]any{}
		for it := value.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			name, ok := key.(types.String)
			if !ok {
				return nil, fmt.Errorf("a key of it is %s, not string", key.Type().TypeName())
			}
			member, err := native(value.Get(key), depth-1)
			if err != nil {
				return nil, err
			}
			object[string(name)] = member
		}
		return object, nil
	case *types.Err:
		return nil, value
	default:
		return nil, fmt.Errorf("it is %s, which JSON has not", value.Type().TypeName())
	}
}

// valueInError finds where CEL and Go's parsers quote a value in an error.
var valueInError = regexp.MustCompile("\"(?:\\\\.|[^\"\\\\])*\"|`[^`]*`|no such key: .*")

// Redact keeps out of an expression's error what a request, a token or an answer brought:
// it could be a secret, as in int(request.headers["x-api-key"]).
func Redact(expression string, err error) error {
	return errors.New(valueInError.ReplaceAllStringFunc(OneLine(err.Error()), func(found string) string {
		value, isKey := strings.CutPrefix(found, "no such key: ")
		switch {
		case strings.Contains(expression, strings.Trim(value, "\"`")):
			return found
		case isKey:
			return "no such key"
		default:
			return "a value"
		}
	}))
}

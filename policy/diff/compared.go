package diff

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"scopeward/policy"
	"scopeward/policy/condition"
)

// sep joins a variable with the names of what is in it.
const sep = "\x00"

// compared is what conditions compare a value with.
type compared struct {
	with  []any    // constants
	names []string // other values
}

// read notes what the condition of a pattern's rule asks for, and what it compares that
// with.
func (d *drawer) read(set *policy.Set, pattern *policy.Pattern) {
	i := slices.IndexFunc(set.Rules(), func(r *policy.Rule) bool { return slices.Contains(r.Patterns, pattern) })
	if i < 0 || set.Rules()[i].Condition() == nil {
		return
	}
	rule := set.Rules()[i]
	c := rule.Condition()
	named, _ := c.Scopes()
	d.scopes = append(append(append(d.scopes, named...), rule.AnyScopes...), "other")
	d.pool = append(d.pool, d.x.segment, "1", "another", true, 1, "")
	at := places(pattern)
	name := func(e ast.Expr) string {
		path := condition.Path(e)
		if path == nil {
			return ""
		}
		if place := at[path[0]]; place != "" {
			return place
		}
		return strings.Join(path, sep)
	}
	c.Walk(func(e ast.Expr) {
		if found := name(e); found != "" {
			d.note(found, nil, nil)
		}
		if e.Kind() != ast.CallKind {
			return
		}
		var values []any
		var names []string
		for _, operand := range operands(e) {
			values = append(values, constants(operand)...)
			if found := name(operand); found != "" {
				names = append(names, found)
			}
		}
		d.pool = append(d.pool, values...)
		for _, of := range names {
			d.note(of, values, slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == of }))
			for _, value := range values { // "x" in identity.claims
				if key, ok := value.(string); ok && slices.Contains([]string{"identity.claims", "request.headers", "request.query", "request.json"}, of) {
					d.note(of+sep+key, nil, nil)
				}
			}
		}
	})
	if d.values["request.method"] != nil {
		d.note("request.method", []any{"GET", "HEAD", "POST"}, nil)
	}
	for _, value := range d.pool { // scopes are often compared with what is elsewhere
		if scope, ok := value.(string); ok && scope != "" {
			d.scopes = append(d.scopes, scope)
		}
	}
	slices.Sort(d.scopes)
	d.scopes = slices.Compact(d.scopes)
}

func (d *drawer) note(name string, values []any, names []string) {
	c := d.values[name]
	if c == nil {
		c = &compared{}
		d.values[name] = c
	}
	c.with = append(c.with, values...)
	c.names = append(c.names, names...)
}

// operands gives what a call is about, and for calls within what they are about, as in
// `size(path.id) == 3`.
func operands(e ast.Expr) []ast.Expr {
	call := e.AsCall()
	all := slices.Clone(call.Args())
	if call.IsMemberFunction() {
		all = append(all, call.Target())
	}
	for _, operand := range all {
		if operand.Kind() == ast.CallKind && condition.Path(operand) == nil {
			all = append(all, operands(operand)...)
		}
	}
	return all
}

// constants gives the values of a literal or of a list of them, and values near them.
func constants(e ast.Expr) []any {
	if e.Kind() == ast.ListKind {
		var all []any
		for _, element := range e.AsList().Elements() {
			all = append(all, constants(element)...)
		}
		if len(all) > 0 {
			all = append(all, all[:1:1])
		}
		return all
	}
	if e.Kind() != ast.LiteralKind {
		return nil
	}
	switch value := e.AsLiteral().(type) {
	case types.String:
		return []any{string(value), string(value), string(value) + "x", []any{string(value)}}
	case types.Int:
		all := []any{int64(value), fmt.Sprint(value)}
		for near := value - 1; near <= value+1; near++ {
			all = append(all, int64(near), strings.Repeat("x", min(max(int(near), 0), 64)))
		}
		return all
	case types.Uint:
		return []any{uint64(value), uint64(value) + 1}
	case types.Double:
		return []any{float64(value), float64(value) - 1, float64(value) + 1}
	case types.Bool:
		return []any{bool(value), !bool(value)}
	}
	return nil
}

func bodyWords(b *policy.Body) string {
	value, _ := b.JSON() // it was made of a value
	if members, ok := value.(map[string]any); ok {
		return strings.Join(claims("body ", members), ", ")
	}
	return fmt.Sprintf("the body %v", value)
}

// text gives a value as a request or a claim of type text brings it.
func text(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		return value
	case []any:
		return text(value[0])
	default:
		return fmt.Sprint(value)
	}
}

// unescape undoes the escapes of a segment.
func unescape(segment string) string {
	if text, err := url.PathUnescape(segment); err == nil {
		return text
	}
	return segment
}

// claims says in words what claims there are.
func claims(prefix string, all map[string]any) []string {
	var words []string
	for _, name := range sorted(all) {
		if inner, ok := all[name].(map[string]any); ok {
			words = append(words, claims(prefix+name+".", inner)...)
			continue
		}
		value, err := json.Marshal(all[name])
		if err != nil {
			value = []byte(strconv.Quote(fmt.Sprint(all[name])))
		}
		words = append(words, fmt.Sprintf("%s%s = %s", prefix, name, value))
	}
	return words
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

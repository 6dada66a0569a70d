package strictyaml

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Decode reads the YAML document in data into the struct that v points to. It
// returns all mistakes, sorted; none means that v holds the document. file is
// the name that positions carry. What a document leaves out stays as it is in v.
//
// Fields carry the tag `yaml:"name"` or `yaml:"name,required"`; those without
// it are not read. The keys of an embedded struct are those of the struct that it is in;
// its tag is `yaml:",inline"`. A string field may list its values: `enum:"a|b"`. Types are
// string, bool, numbers, time.Duration (a Go duration string), slices,
// map[string]T, structs and pointers to them, Text, Located, OneOrMore,
// encoding.TextUnmarshaler, and any, which gets what encoding/json would give. A struct
// whose pointer has the method SetText(string) error may also be written as text.
func Decode(file string, data []byte, v any) Problems { return DecodeUpTo(file, data, maxBytes, v) }

// DecodeUpTo is Decode for a file that may have so many bytes, and values in proportion.
func DecodeUpTo(file string, data []byte, limit int, v any) Problems {
	out := reflect.ValueOf(v)
	if out.Kind() != reflect.Pointer || out.IsNil() || out.Elem().Kind() != reflect.Struct {
		return Problems{{Pos{File: file}, fmt.Sprintf("cannot decode into %T: it is no pointer to a struct", v)}}
	}
	d := &decoder{source: newSource(file, data, limit), structs: map[reflect.Type]*structInfo{}}
	root, problem := d.source.parse()
	if problem != nil {
		return Problems{*problem}
	}
	d.value(root, out.Elem(), slot{key: "the file"})
	return d.problems.Sorted()
}

type decoder struct {
	source   *source
	problems Problems
	structs  map[reflect.Type]*structInfo
	visits   int
	depth    int
}

// slot is where a value goes: its key, for messages, and its allowed values.
type slot struct {
	key  string
	enum []string
}

func (d *decoder) pos(n *yaml.Node) Pos { return Pos{d.source.file, n.Line, n.Column} }

func (d *decoder) problem(n *yaml.Node, format string, args ...any) {
	d.problems = append(d.problems, Problem{d.pos(n), fmt.Sprintf(format, args...)})
}

// enter follows an alias, and guards against more nodes than a person writes.
// The caller ends it by lowering depth, if ok.
func (d *decoder) enter(n *yaml.Node) (_ *yaml.Node, ok bool) {
	d.visits++
	maxVisits := d.source.limit / perVisit
	switch {
	case d.visits == maxVisits:
		d.problem(n, "too many values: aliases repeat more than %d", maxVisits)
		fallthrough
	case d.visits > maxVisits:
		return nil, false
	case d.depth >= maxDepth:
		d.problem(n, "nested too deep: more than %d levels", maxDepth)
		d.visits = maxVisits // an alias within itself would go on with its neighbours
		return nil, false
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.problem(n, "tag %q is not supported: remove it, or quote the value as a whole ('!...') if it is text", n.Tag)
		return nil, false
	}
	d.depth++
	return n, true
}

// locator is implemented by *Located.
type locator interface{ locate(Pos) (value any) }

func (l *Located[T]) locate(p Pos) any {
	l.Pos = p
	return &l.Value
}

// listOrElement is implemented by OneOrMore.
type listOrElement interface{ listOrElement() }

func (OneOrMore[T]) listOrElement() {}

// textOrMapping is implemented by a pointer to a struct that has a short form.
type textOrMapping interface{ SetText(string) error }

func (d *decoder) value(n *yaml.Node, v reflect.Value, s slot) {
	given := n
	n, ok := d.enter(n)
	if !ok {
		d.locate(given, v)
		return
	}
	defer func() { d.depth-- }()

	if v.Kind() == reflect.Interface && v.NumMethod() == 0 {
		if x := d.any(n); x != nil {
			v.Set(reflect.ValueOf(x))
		}
		return
	}
	if isNull(n) {
		d.locate(n, v)
		d.problem(n, "%s has no value: give one, or remove the key", s.key)
		return
	}
	switch target := v.Addr().Interface().(type) {
	case locator:
		d.depth-- // it is the same node
		d.value(n, reflect.ValueOf(target.locate(d.pos(n))).Elem(), s)
		d.depth++
	case *Text:
		*target = Text{Pos: d.pos(n), source: d.source, style: n.Style}
		d.text(n, s, func(text string) error { target.Value = text; return nil })
	case *time.Duration:
		d.duration(n, target, s)
	case textOrMapping:
		if n.Kind == yaml.MappingNode {
			d.kind(n, v, s)
			return
		}
		d.text(n, s, target.SetText)
	case encoding.TextUnmarshaler:
		d.text(n, s, func(text string) error { return target.UnmarshalText([]byte(text)) })
	default:
		d.kind(n, v, s)
	}
}

// locate gives what can't be read its place all the same: who reads on may have something
// to say about it.
func (d *decoder) locate(n *yaml.Node, v reflect.Value) {
	if l, ok := v.Addr().Interface().(locator); ok {
		l.locate(d.pos(n))
	}
}

func (d *decoder) kind(n *yaml.Node, v reflect.Value, s slot) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem(), s)
	case reflect.Struct:
		d.structure(n, v, s)
	case reflect.Map:
		d.mapping(n, v, s)
	case reflect.Slice:
		d.list(n, v, s)
	case reflect.String:
		d.text(n, s, func(text string) error { v.SetString(text); return nil })
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
			d.problem(n, "%s must be true or false, not %s", s.key, describe(n))
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		d.number(n, v, s)
	default:
		d.problem(n, "%s cannot be read: Go type %s is not supported", s.key, v.Type())
	}
}

// text passes on a scalar that is text: quoted, or plain and not of another type.
func (d *decoder) text(n *yaml.Node, s slot, set func(string) error) {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.problem(n, "%s must be text, not %s", s.key, describe(n))
	case n.Tag != "!!str" && n.Tag != "!!timestamp" && n.Tag != "!!merge":
		d.problem(n, "%s must be text, not %s: quote it: %q", s.key, describe(n), n.Value)
	case s.enum != nil && !slices.Contains(s.enum, n.Value):
		d.problem(n, "%s cannot be %q%s", s.key, n.Value, suggest(n.Value, s.enum))
	default:
		if err := set(n.Value); err != nil {
			d.problem(n, "%s: %s", s.key, oneLine(err.Error()))
		}
	}
}

func (d *decoder) duration(n *yaml.Node, v *time.Duration, s slot) {
	if n.Kind != yaml.ScalarNode {
		d.problem(n, "%s must be a duration such as 30s or 5m, not %s", s.key, describe(n))
		return
	}
	value, err := time.ParseDuration(n.Value)
	if err != nil {
		d.problem(n, "%s must be a duration: %q is a number without a unit, or no number: write 30s, 5m or 24h", s.key, n.Value)
		return
	}
	*v = value
}

var decimal = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$`)

func (d *decoder) number(n *yaml.Node, v reflect.Value, s slot) {
	isNumber := n.Kind == yaml.ScalarNode && (n.Tag == "!!int" || n.Tag == "!!float")
	whole := isNumber && decimal.MatchString(n.Value)
	bits := v.Type().Bits()
	var err error
	switch {
	case v.CanFloat() && isNumber:
		var f float64
		if f, err = strconv.ParseFloat(n.Value, bits); err == nil {
			v.SetFloat(f)
		}
	case v.CanInt() && whole:
		var i int64
		if i, err = strconv.ParseInt(n.Value, 10, bits); err == nil {
			v.SetInt(i)
		}
	case v.CanUint() && whole:
		var u uint64
		if u, err = strconv.ParseUint(strings.TrimPrefix(n.Value, "+"), 10, bits); err == nil {
			v.SetUint(u)
		}
	case v.CanFloat():
		d.problem(n, "%s must be a number, not %s", s.key, describe(n))
	default:
		d.problem(n, "%s must be a whole number, not %s", s.key, describe(n))
	}
	if err != nil {
		d.problem(n, "%s cannot be %s: it is out of range", s.key, n.Value)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, s slot) {
	elements := n.Content
	if n.Kind != yaml.SequenceNode {
		if _, ok := v.Interface().(listOrElement); !ok {
			d.problem(n, "%s must be a list, not %s", s.key, describe(n))
			return
		}
		elements = []*yaml.Node{n}
	}
	out := reflect.MakeSlice(v.Type(), len(elements), len(elements))
	for i, e := range elements {
		GiveTurn(i)
		d.value(e, out.Index(i), s)
	}
	v.Set(out)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, s slot) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, "%s must be a mapping of keys to values, not %s", s.key, describe(n))
		return
	}
	if v.Type().Key().Kind() != reflect.String {
		d.problem(n, "%s cannot be read: Go type %s is not supported", s.key, v.Type())
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	d.pairs(n, func(key string, _, value *yaml.Node) {
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(value, e, slot{key: strconv.Quote(key), enum: s.enum})
		out.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), e)
	})
	v.Set(out)
}

// pairs calls f for each key that is text and stands there for the first time.
func (d *decoder) pairs(n *yaml.Node, f func(name string, key, value *yaml.Node)) {
	first := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind == yaml.ScalarNode && key.Tag == "!!merge":
			d.problem(key, "merge keys (<<) are not supported: write the keys out")
		case key.Kind != yaml.ScalarNode || key.Style&yaml.TaggedStyle != 0:
			d.problem(key, "a key must be text, without anchors and tags")
		case key.Tag != "!!str" && key.Tag != "!!timestamp":
			d.problem(key, "a key must be text, not %s: quote it: %q", describe(key), key.Value)
		case first[key.Value] != nil:
			d.problem(key, "key %q is repeated: it stands at line %d already", key.Value, first[key.Value].Line)
		default:
			first[key.Value] = key
			f(key.Value, key, value)
		}
	}
}

// any gives what encoding/json would: nil, bool, string, []any, map[string]any, or an
// exact number (see exactNumber).
func (d *decoder) any(n *yaml.Node) any {
	child := func(n *yaml.Node) (x any) {
		if n, ok := d.enter(n); ok {
			x = d.any(n)
			d.depth--
		}
		return x
	}
	switch n.Kind {
	case yaml.MappingNode:
		out := make(map[string]any, len(n.Content)/2)
		d.pairs(n, func(key string, _, value *yaml.Node) { out[key] = child(value) })
		return out
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, e := range n.Content {
			out[i] = child(e)
		}
		return out
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		number, err := exactNumber(n.Value)
		if err != nil {
			d.problem(n, "number %s cannot be read: write it in decimal, or quote it", n.Value)
		}
		return number
	default:
		return n.Value
	}
}

// exactNumber gives a number as the claims of a token have it: an int64 or a uint64 without
// fraction and exponent, else a float64; what does not fit, or would as a float64 be the
// same as neighbouring integers, is a json.Number.
func exactNumber(text string) (any, error) {
	if decimal.MatchString(text) {
		text = strings.TrimPrefix(text, "+")
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return i, nil
		}
		if u, err := strconv.ParseUint(text, 10, 64); err == nil {
			return u, nil
		}
		return json.Number(text), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if size := math.Abs(f); err == nil && 1<<53 <= size && size < 1<<64 {
		return json.Number(text), nil
	}
	return f, err
}

// describe names what stands at a node, for messages.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	case n.Tag == "!!int", n.Tag == "!!float":
		return "the number " + n.Value
	case n.Tag == "!!bool":
		return n.Value
	default:
		return fmt.Sprintf("the text %q", n.Value)
	}
}

// suggest gives the end of a message about a word that is not known.
func suggest(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return "; known here: " + strings.Join(known, ", ")
}

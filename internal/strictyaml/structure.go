package strictyaml

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// structInfo is what a struct's tags say, in the order of its fields.
type structInfo struct {
	names  []string
	fields map[string]fieldInfo
}

type fieldInfo struct {
	index    []int // for reflect's FieldByIndex
	required bool
	enum     []string
}

func (d *decoder) info(t reflect.Type) *structInfo {
	info := d.structs[t]
	if info == nil {
		info = newStructInfo(t)
		d.structs[t] = info
	}
	return info
}

func newStructInfo(t reflect.Type) *structInfo {
	info := &structInfo{fields: map[string]fieldInfo{}}
	for _, f := range reflect.VisibleFields(t) { // also those of structs within, with the tag ",inline"
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		field := fieldInfo{index: f.Index, required: option == "required"}
		if enum := f.Tag.Get("enum"); enum != "" {
			field.enum = strings.Split(enum, "|")
		}
		info.names = append(info.names, name)
		info.fields[name] = field
	}
	return info
}

// stranger is implemented by a pointer to a document that knows another kind of document
// by its keys, and says what to do with it; "" if it is its own.
type stranger interface {
	Stranger(has func(key string) bool) (message string)
}

func hasKey(mapping *yaml.Node) func(string) bool {
	return func(key string) bool {
		for i := 0; i < len(mapping.Content); i += 2 {
			if mapping.Content[i].Value == key {
				return true
			}
		}
		return false
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, s slot) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, "%s must be a mapping of keys to values, not %s", s.key, describe(n))
		return
	}
	if strange, ok := v.Addr().Interface().(stranger); ok {
		if message := strange.Stranger(hasKey(n)); message != "" {
			d.problem(n, "%s", message)
			return
		}
	}
	info := d.info(v.Type())
	seen := make(map[string]bool, len(n.Content)/2)
	d.pairs(n, func(name string, key, value *yaml.Node) {
		field, ok := info.fields[name]
		if !ok {
			d.problem(key, "unknown key %q%s", name, suggest(name, info.names))
			return
		}
		seen[name] = true
		d.value(value, v.FieldByIndex(field.index), slot{key: name, enum: field.enum})
	})
	for _, name := range info.names {
		if info.fields[name].required && !seen[name] {
			d.problem(n, "key %q is missing", name)
		}
	}
}

package doctor

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// node is a place in a configuration: what stands there, and how to get there. A
// place where nothing stands is a node too, so that a finding can name it.
// Configurations are read as they are, without their protobuf types, so that
// an extension that nobody here knows is no obstacle.
type node struct {
	value any // map[string]any, []any, string, bool, float64, or nil where nothing stands
	up    *node
	key   string // in up, if that is a mapping
	index int    // in up, if that is a list
}

// get gives a field by its protobuf name, in whichever of protobuf's two
// spellings it is written (https://protobuf.dev/programming-guides/json/).
func (n *node) get(fields ...string) *node {
	for _, field := range fields {
		child := &node{up: n, key: field}
		if m, ok := n.value.(map[string]any); ok {
			if child.value, ok = m[field]; !ok {
				if value, ok := m[lowerCamel(field)]; ok {
					child.value, child.key = value, lowerCamel(field)
				}
			}
		}
		n = child
	}
	return n
}

func lowerCamel(field string) string {
	words := strings.Split(field, "_")
	for i, w := range words[1:] {
		if w != "" {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}

// items gives the elements of a list.
func (n *node) items() []*node {
	list, _ := n.value.([]any)
	nodes := make([]*node, len(list))
	for i, v := range list {
		nodes[i] = &node{value: v, up: n, index: i}
	}
	return nodes
}

// entries gives the values of a mapping in the order of their keys.
func (n *node) entries() iter.Seq2[string, *node] {
	return func(yield func(string, *node) bool) {
		m, _ := n.value.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, &node{value: m[key], up: n, key: key}) {
				return
			}
		}
	}
}

// all gives a node and everything below it.
func (n *node) all() iter.Seq[*node] {
	return func(yield func(*node) bool) { n.walk(yield) }
}

func (n *node) walk(yield func(*node) bool) bool {
	if !yield(n) {
		return false
	}
	for _, child := range n.entries() {
		if !child.walk(yield) {
			return false
		}
	}
	for _, child := range n.items() {
		if !child.walk(yield) {
			return false
		}
	}
	return true
}

func (n *node) exists() bool { return n.value != nil }

func (n *node) text() string {
	s, _ := n.value.(string)
	return s
}

// scalar gives a value, also out of a wrapper such as google.protobuf.BoolValue,
// which Envoy takes written out too.
func (n *node) scalar() any {
	if _, ok := n.value.(map[string]any); ok {
		return n.get("value").value
	}
	return n.value
}

// yes reports whether a boolean is true. Envoy reads YAML 1.1, where yes, on and
// y are true as well.
func (n *node) yes() bool {
	switch v := n.scalar().(type) {
	case bool:
		return v
	case string:
		switch strings.ToLower(v) {
		case "true", "yes", "on", "y":
			return true
		}
	}
	return false
}

// number gives a number, also one that is written as text (64-bit integers are).
func (n *node) number() (float64, bool) {
	switch v := n.scalar().(type) {
	case float64:
		return v, true
	case string:
		f, err := strconv.ParseFloat(v, 64)
		return f, err == nil
	}
	return 0, false
}

// enum gives the name of an enumeration's value, which may be written as its
// number; names are in the order of the numbers. "" is absent or unknown.
func (n *node) enum(names ...string) string {
	if i, ok := n.number(); ok {
		if i >= 0 && int(i) < len(names) {
			return names[int(i)]
		}
		return ""
	}
	return n.text()
}

// duration gives a google.protobuf.Duration: seconds with a trailing s, or written
// out.
func (n *node) duration() (time.Duration, bool) {
	if _, ok := n.value.(map[string]any); ok {
		seconds, _ := n.get("seconds").number()
		nanos, _ := n.get("nanos").number()
		return time.Duration(seconds*float64(time.Second) + nanos), true
	}
	seconds, ok := strings.CutSuffix(n.text(), "s")
	f, err := strconv.ParseFloat(seconds, 64)
	if !ok || err != nil {
		return 0, false
	}
	return time.Duration(f * float64(time.Second)), true
}

// typed gives the message type of a google.protobuf.Any and its fields. An Any
// may hold them in a TypedStruct, with the type beside.
func (n *node) typed() (message string, fields *node) {
	message = typeName(n.get("@type").text())
	switch message {
	case "xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct":
		return typeName(n.get("type_url").text()), n.get("value")
	}
	return message, n
}

// typeName takes the host off a type URL.
func typeName(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }

// path says how to get to a node, in the form of jq without its leading dot.
func (n *node) path() string {
	if n.up == nil {
		return ""
	}
	before := n.up.path()
	switch {
	case n.key == "":
		return before + "[" + strconv.Itoa(n.index) + "]"
	case strings.ContainsFunc(n.key, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}):
		return before + "[" + strconv.Quote(n.key) + "]"
	case before == "":
		return n.key
	default:
		return before + "." + n.key
	}
}

// ancestors gives a node and what it is in, from the inside out.
func (n *node) ancestors() iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for ; n != nil; n = n.up {
			if !yield(n) {
				return
			}
		}
	}
}

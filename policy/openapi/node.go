package openapi

import (
	"github.com/pb33f/go-yaml"
	"github.com/pb33f/libopenapi/utils"
)

// node is a part of the document as it is written. The library's own fields
// forgive too much where a mistake would open an operation.
type node struct{ *yaml.Node }

// resolve follows aliases to what they stand for.
func resolve(n *yaml.Node) node {
	for range 100 {
		switch {
		case n == nil:
			return node{}
		case n.Kind == yaml.DocumentNode && len(n.Content) == 1:
			n = n.Content[0]
		case n.Kind == yaml.AliasNode:
			n = n.Alias
		case n.Kind == yaml.MappingNode:
			return node{utils.ResolveMergeNodes(n)} // <<: may bring the security key
		default:
			return node{n}
		}
	}
	return node{}
}

// get gives the value of a key, the empty node if there is none.
func (n node) get(name string) node {
	_, value := n.find(name)
	return value
}

// key gives the key itself, for its position.
func (n node) key(name string) node {
	key, _ := n.find(name)
	return key
}

func (n node) find(name string) (key, value node) {
	if !n.isMapping() {
		return node{}, node{}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := resolve(n.Content[i]); k.Node != nil && k.Kind == yaml.ScalarNode && k.Value == name {
			return k, resolve(n.Content[i+1])
		}
	}
	return node{}, node{}
}

func (n node) isMapping() bool  { return n.Node != nil && n.Kind == yaml.MappingNode }
func (n node) isSequence() bool { return n.Node != nil && n.Kind == yaml.SequenceNode }

// isText: a string, and nothing that only looks like one.
func (n node) isText() bool {
	return n.Node != nil && n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str"
}

// text gives a scalar's text, "" for anything else.
func (n node) text() string {
	if n.Node == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

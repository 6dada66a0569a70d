package openapi

import (
	"slices"

	"go.yaml.in/yaml/v4"
)

// node is a part of a file of the document as it is written. Models of whole documents, such as
// libraries make, forgive too much where a mistake would open an operation.
type node struct {
	*yaml.Node
	in *source
}

// child gives an element of a list, or a key or a value of a mapping.
func (n node) child(i int) node { return n.in.resolve(n.Content[i]) }

// resolve follows aliases to what they stand for, and reads what has not been read yet.
func (in *source) resolve(n *yaml.Node) node {
	for range 100 {
		switch {
		case n == nil:
			return node{}
		case n.Kind == yaml.DocumentNode && len(n.Content) == 1:
			n = n.Content[0]
		case n.Kind == yaml.AliasNode:
			n = n.Alias
		case n.Kind == unread:
			in.read(n)
		case n.Kind == yaml.MappingNode:
			return node{merged(n), in}
		default:
			return node{n, in}
		}
	}
	return node{}
}

// merged is a mapping with what its merge keys bring, such as a security key; what it has
// itself counts, then what comes first.
func merged(n *yaml.Node) *yaml.Node {
	if !slices.ContainsFunc(n.Content, isMerge) {
		return n
	}
	m := *n
	m.Content = appendMerged(nil, map[string]bool{}, map[*yaml.Node]bool{}, n)
	return &m
}

func isMerge(key *yaml.Node) bool { return key.Kind == yaml.ScalarNode && key.Tag == "!!merge" }

// appendMerged appends the pairs of a mapping, or of a list of mappings, whose keys are
// not there yet. No mapping is looked at twice: it may lead to itself.
func appendMerged(pairs []*yaml.Node, have map[string]bool, seen map[*yaml.Node]bool, n *yaml.Node) []*yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if seen[n] {
		return pairs
	}
	seen[n] = true
	if n.Kind == yaml.SequenceNode {
		for _, element := range n.Content {
			pairs = appendMerged(pairs, have, seen, element)
		}
	}
	if n.Kind != yaml.MappingNode {
		return pairs
	}
	var bring []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case isMerge(key):
			bring = append(bring, value)
		case !have[key.Value]:
			have[key.Value] = true
			pairs = append(pairs, key, value)
		}
	}
	for _, source := range bring {
		pairs = appendMerged(pairs, have, seen, source)
	}
	return pairs
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
		if k := n.child(i); k.Node != nil && k.Kind == yaml.ScalarNode && k.Value == name {
			return k, n.child(i + 1)
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

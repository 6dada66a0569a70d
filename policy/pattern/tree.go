package pattern

import "strings"

// Tree finds, of many patterns, the one for a request, and those that have requests in
// common with another pattern. V is what belongs to a pattern.
type Tree[V any] map[string]map[string]*node[V] // by the key of the host and the method

// node is a place in the tree of the segments of all patterns of one host and method.
type node[V any] struct {
	literals map[string]*node[V]
	any      *node[V]
	ends     [3]*Leaf[V] // by End
}

// Leaf is a pattern in the tree.
type Leaf[V any] struct {
	Pattern *Pattern
	Value   V
}

// Add adds a pattern. It gives the leaf that is there already, if there is one for the same
// requests, and adds nothing then.
func (t Tree[V]) Add(p *Pattern, value V) *Leaf[V] {
	host := HostKey(p.Host)
	if t[host] == nil {
		t[host] = map[string]*node[V]{}
	}
	n := t[host][p.Method]
	if n == nil {
		n = &node[V]{}
		t[host][p.Method] = n
	}
	for _, s := range p.Segments {
		n = n.child(s.Literal)
	}
	if have := n.ends[p.End]; have != nil {
		return have
	}
	n.ends[p.End] = &Leaf[V]{p, value}
	return nil
}

func (n *node[V]) child(literal string) *node[V] {
	if literal == "" {
		if n.any == nil {
			n.any = &node[V]{}
		}
		return n.any
	}
	if n.literals == nil {
		n.literals = map[string]*node[V]{}
	}
	if n.literals[literal] == nil {
		n.literals[literal] = &node[V]{}
	}
	return n.literals[literal]
}

// Get gives the leaf of a pattern for the same requests, nil if there is none.
func (t Tree[V]) Get(p *Pattern) *Leaf[V] {
	n := t[HostKey(p.Host)][p.Method]
	for _, s := range p.Segments {
		switch {
		case n == nil:
			return nil
		case s.Literal == "":
			n = n.any
		default:
			n = n.literals[s.Literal]
		}
	}
	if n == nil {
		return nil
	}
	return n.ends[p.End]
}

// Find gives the leaf of the most specific pattern for a request: the first in the order of
// hosts, methods and then segments. The path is unescaped. Where there is none but for the
// path with a slash at its end, or only one for everything below a path where that one is
// for exactly the path with its slash, it gives nil, and needsSlash.
func (t Tree[V]) Find(method, host, path string) (found *Leaf[V], needsSlash bool) {
	found = t.find(method, host, path, false)
	if strings.HasSuffix(path, "/") || found != nil && found.Pattern.End == Exactly {
		return found, false
	}
	withSlash := t.find(method, host, path, true)
	if withSlash != nil && len(withSlash.Pattern.Segments) == strings.Count(path, "/") {
		return nil, true
	}
	return found, false
}

func (t Tree[V]) find(method, host, path string, slash bool) *Leaf[V] {
	if host != "" {
		if found := findBelow(t[host], method, path, slash); found != nil {
			return found
		}
		if _, domain := Label(host); domain != "" {
			if found := findBelow(t["{}"+domain], method, path, slash); found != nil {
				return found
			}
		}
	}
	return findBelow(t[""], method, path, slash)
}

func findBelow[V any](methods map[string]*node[V], method, path string, slash bool) *Leaf[V] {
	if methods == nil {
		return nil
	}
	if found := methods[method].find(path, slash); found != nil {
		return found
	}
	if method == "HEAD" {
		if found := methods["GET"].find(path, slash); found != nil {
			return found
		}
	}
	return methods[""].find(path, slash)
}

// find follows the rest of a path, which is empty or begins with a slash. With slash, a
// slash follows it. No node is asked twice.
func (n *node[V]) find(rest string, slash bool) *Leaf[V] {
	switch {
	case n == nil:
		return nil
	case rest == "" && !slash:
		return n.ends[Exactly]
	case (rest == "" || rest == "/") && n.ends[Slash] != nil:
		return n.ends[Slash]
	case rest == "", rest == "/":
		return n.ends[More]
	}
	segment, after := cut(rest)
	if found := n.literals[segment].find(after, slash); found != nil {
		return found
	}
	if segment != "" {
		if found := n.any.find(after, slash); found != nil {
			return found
		}
	}
	return n.ends[More]
}

// OfHost gives the part of the tree with the patterns of one host.
func (t Tree[V]) OfHost(host string) Tree[V] {
	key := HostKey(host)
	return Tree[V]{key: t[key]}
}

// Overlapping gives visit every leaf that may have a request in common with p. step is asked at each node; where it says false, the walk ends.
func (t Tree[V]) Overlapping(p *Pattern, step func() bool, visit func(*Leaf[V])) {
	for host, methods := range t {
		if compareHosts(host, p.Host) == Disjoint {
			continue
		}
		if p.Method == "" {
			for _, n := range methods {
				n.meet(p, 0, step, visit)
			}
			continue
		}
		methods[""].meet(p, 0, step, visit)
		methods[p.Method].meet(p, 0, step, visit)
		switch p.Method { // GET is for HEAD too
		case "GET":
			methods["HEAD"].meet(p, 0, step, visit)
		case "HEAD":
			methods["GET"].meet(p, 0, step, visit)
		}
	}
}

// meet walks along the segments of p, of which the first i have been met.
func (n *node[V]) meet(p *Pattern, i int, step func() bool, visit func(*Leaf[V])) {
	if n == nil || !step() {
		return
	}
	if i == len(p.Segments) {
		n.all(p.End == More, step, visit)
		return
	}
	if n.ends[More] != nil {
		visit(n.ends[More])
	}
	if literal := p.Segments[i].Literal; literal != "" {
		n.literals[literal].meet(p, i+1, step, visit)
	} else {
		for _, child := range n.literals {
			child.meet(p, i+1, step, visit)
		}
	}
	n.any.meet(p, i+1, step, visit)
}

// all gives the leaves at n and, with below, all below it.
func (n *node[V]) all(below bool, step func() bool, visit func(*Leaf[V])) {
	for _, leaf := range n.ends {
		if leaf != nil {
			visit(leaf)
		}
	}
	if !below {
		return
	}
	for _, child := range n.literals {
		if step() {
			child.all(true, step, visit)
		}
	}
	if n.any != nil && step() {
		n.any.all(true, step, visit)
	}
}

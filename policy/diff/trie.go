package diff

// index finds the sources that have requests in common with another one, without
// a look at each.
type index map[string]map[string]*node // by host and method

// node is a place in the tree of the segments of all sources.
type node struct {
	children map[string]*node // by literal segment; "" is any
	ends     []*source        // that end here: exactly, or with a slash
	open     []*source        // that go on
}

func newIndex(all []*source) index {
	x := index{}
	for _, s := range all {
		if x[s.host] == nil {
			x[s.host] = map[string]*node{}
		}
		if x[s.host][s.method] == nil {
			x[s.host][s.method] = &node{}
		}
		x[s.host][s.method].add(s)
	}
	return x
}

func (n *node) add(s *source) {
	for _, segment := range s.segments {
		if n.children == nil {
			n.children = map[string]*node{}
		}
		if n.children[segment] == nil {
			n.children[segment] = &node{}
		}
		n = n.children[segment]
	}
	if s.end == more {
		n.open = append(n.open, s)
	} else {
		n.ends = append(n.ends, s)
	}
}

// overlapping gives visit every source of the index that may have a request in
// common with s, and spends the budget on the way. It stops when it is spent.
func (x index) overlapping(s *source, b *budget, visit func(*source)) {
	byHost := func(methods map[string]*node) {
		if s.method == "" {
			for _, root := range methods {
				root.meet(s, 0, b, visit)
			}
			return
		}
		asked := []string{"", s.method}
		switch s.method { // GET is for HEAD too
		case "GET":
			asked = append(asked, "HEAD")
		case "HEAD":
			asked = append(asked, "GET")
		}
		for _, method := range asked {
			methods[method].meet(s, 0, b, visit)
		}
	}
	if s.host == "" {
		for _, methods := range x {
			byHost(methods)
		}
		return
	}
	byHost(x[s.host])
	byHost(x[""])
}

// meet walks along the segments of s, of which the first i have been met.
func (n *node) meet(s *source, i int, b *budget, visit func(*source)) {
	if n == nil || !b.spend(1) {
		return
	}
	for _, other := range n.open {
		visit(other)
	}
	switch {
	case i < len(s.segments) && s.segments[i] != "":
		n.children[s.segments[i]].meet(s, i+1, b, visit)
		n.children[""].meet(s, i+1, b, visit)
	case i < len(s.segments):
		for _, child := range n.children {
			child.meet(s, i+1, b, visit)
		}
	default:
		for _, other := range n.ends {
			visit(other)
		}
		if s.end == more {
			for _, child := range n.children {
				child.all(b, visit)
			}
		}
	}
}

// all gives every source at n and below.
func (n *node) all(b *budget, visit func(*source)) {
	if !b.spend(1) {
		return
	}
	for _, other := range n.open {
		visit(other)
	}
	for _, other := range n.ends {
		visit(other)
	}
	for _, child := range n.children {
		child.all(b, visit)
	}
}

// budget bounds the work of a comparison.
type budget struct {
	left  int
	spent bool // more was wanted than there was
}

func (b *budget) spend(steps int) bool {
	if b.left < steps {
		b.left, b.spent = 0, true
		return false
	}
	b.left -= steps
	return true
}

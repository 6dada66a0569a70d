package pattern

// Relation is how two sets of requests lie. The zero value is that it matters which is
// which.
type Relation uint8

const (
	Overlap Relation = iota // both have requests that the other has not, and some in common
	Disjoint
	Equal
	Within   // the first is a part of the second
	Contains // the second is a part of the first
)

func within(r Relation) bool { return r == Within || r == Equal }

// and joins the relations of two parts of a request, such as its method and its path.
func (r Relation) and(other Relation) Relation {
	switch {
	case r == Disjoint || other == Disjoint:
		return Disjoint
	case r == Equal || r == other:
		return other
	case other == Equal:
		return r
	default:
		return Overlap
	}
}

// Compare gives the relation of the requests of two patterns.
func (p *Pattern) Compare(q *Pattern) Relation {
	return compareHosts(p.Host, q.Host).and(p.compareBelow(q))
}

// compareBelow leaves the hosts out.
func (p *Pattern) compareBelow(q *Pattern) Relation {
	return compareMethods(p.Method, q.Method).and(p.ComparePaths(q))
}

// Covers reports whether p is for all requests that q is for.
func (p *Pattern) Covers(q *Pattern) bool { return within(q.Compare(p)) }

// Conflicts reports whether it would be open which of two patterns is for a request. A
// host goes before others, whatever the path: only patterns of one host can conflict.
func (p *Pattern) Conflicts(q *Pattern) bool {
	if compareHosts(p.Host, q.Host) != Equal {
		return false
	}
	r := p.compareBelow(q)
	return r == Overlap || r == Equal
}

// Hides reports whether p, which has a host, is for requests that q would be for if hosts
// counted as the other parts do: q is not more general, and its host is.
func (p *Pattern) Hides(q *Pattern) bool {
	if compareHosts(p.Host, q.Host) != Within {
		return false
	}
	r := p.compareBelow(q)
	return r != Disjoint && r != Within
}

func compareMethods(a, b string) Relation {
	switch {
	case a == b:
		return Equal
	case a == "", a == "GET" && b == "HEAD":
		return Contains
	case b == "", b == "GET" && a == "HEAD":
		return Within
	default:
		return Disjoint
	}
}

func compareHosts(a, b string) Relation {
	switch {
	case HostKey(a) == HostKey(b):
		return Equal
	case a == "" || hasLabel(a, b):
		return Contains
	case b == "" || hasLabel(b, a):
		return Within
	default:
		return Disjoint
	}
}

// hasLabel reports whether a begins with a wildcard that host has a label for.
func hasLabel(a, host string) bool {
	_, domain := SplitHost(a)
	_, rest := Label(host)
	return domain != "" && domain == rest
}

// ComparePaths gives the relation of the paths of two patterns.
func (p *Pattern) ComparePaths(q *Pattern) Relation {
	out := Equal
	for i := range min(len(p.Segments), len(q.Segments)) {
		switch a, b := p.Segments[i].Literal, q.Segments[i].Literal; {
		case a == b:
		case a == "":
			out = out.and(Contains)
		case b == "":
			out = out.and(Within)
		default:
			return Disjoint
		}
	}
	return out.and(p.compareEnds(q))
}

// compareEnds compares what follows the segments that both have.
func (p *Pattern) compareEnds(q *Pattern) Relation {
	switch {
	case len(p.Segments) < len(q.Segments):
		if p.End == More {
			return Contains
		}
		return Disjoint
	case len(p.Segments) > len(q.Segments):
		if q.End == More {
			return Within
		}
		return Disjoint
	case p.End == q.End:
		return Equal
	case p.End == More && q.End == Slash:
		return Contains
	case p.End == Slash && q.End == More:
		return Within
	default:
		return Disjoint
	}
}

// Meet gives the pattern for the requests that both are for. Where both have a wildcard,
// the name is that of p.
func (p *Pattern) Meet(q *Pattern) (Pattern, bool) {
	if p.Compare(q) == Disjoint {
		return Pattern{}, false
	}
	out := p.Clone()
	if compareMethods(q.Method, p.Method) == Within {
		out.Method = q.Method
	}
	if compareHosts(q.Host, p.Host) == Within {
		out.Host = q.Host
	}
	for i, s := range q.Segments {
		switch {
		case i >= len(out.Segments):
			out.Segments = append(out.Segments, s)
		case out.Segments[i].Literal == "":
			if s.Literal != "" {
				out.Segments[i] = s
			}
		}
	}
	if within(q.compareEnds(p)) && (q.End != p.End || len(q.Segments) > len(p.Segments)) {
		out.End, out.Rest = q.End, q.Rest
	}
	return out, true
}

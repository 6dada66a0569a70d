package openapi

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// maxReferences is how many references may lead from one to the next.
const maxReferences = 100

// follow gives what a node stands for: what its reference leads to in this
// document (RFC 6901), or the node itself if it is none. Else it says why not,
// and gives the reference that is at fault.
func (r *reader) follow(n node) (target, fault node, why string) {
	for range maxReferences {
		ref := n.get("$ref")
		if ref.Node == nil {
			return n, node{}, ""
		}
		name := strconv.Quote(printable(ref.text()))
		pointer, within := strings.CutPrefix(ref.text(), "#/")
		if !within {
			return node{}, ref, fmt.Sprintf("the reference %s is not followed: put all files into one document first", name)
		}
		fault, n = ref, r.root
		for part := range strings.SplitSeq(pointer, "/") {
			if decoded, err := url.PathUnescape(part); err == nil {
				part = decoded
			}
			n = n.get(strings.NewReplacer("~1", "/", "~0", "~").Replace(part))
		}
		if n.Node == nil {
			return node{}, ref, fmt.Sprintf("the reference %s leads nowhere", name)
		}
	}
	return node{}, fault, fmt.Sprintf("the reference %s leads in a circle", strconv.Quote(printable(fault.text())))
}

package openapi

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// maxReferences is how many references may lead from one to the next.
const maxReferences = 100

// follow gives what a node stands for: what its reference leads to (RFC 6901), in its file
// or in one below the folder of the document, or the node itself if it is none. Else it
// says why not, and gives the reference that is at fault.
func (r *reader) follow(n node) (target, fault node, why string) {
	for range maxReferences {
		ref := n.get("$ref")
		if ref.Node == nil {
			return n, node{}, ""
		}
		name := strconv.Quote(printable(ref.text()))
		file, pointer, _ := strings.Cut(ref.text(), "#")
		in := n.in
		if file != "" {
			if in, why = r.other(n.in, file); why != "" {
				return node{}, ref, fmt.Sprintf("the reference %s is not followed: %s", name, why)
			}
		}
		fault, n = ref, in.root
		if pointer != "" && !strings.HasPrefix(pointer, "/") {
			return node{}, ref, fmt.Sprintf("the reference %s is not followed: it names an anchor, not a place", name)
		}
		for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
			if pointer == "" {
				break
			}
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

// other reads a file that another one names. Only what is below the folder of the document
// is read: a document is written by others.
func (r *reader) other(from *source, name string) (_ *source, why string) {
	u, err := url.Parse(name)
	switch {
	case err != nil || u.Path == "":
		return nil, "it is no name of a file"
	case u.Scheme != "" || u.Host != "":
		return nil, "it is not in the folder of the document"
	case r.options.Files == nil:
		return nil, "put all files into one document first"
	}
	at := path.Join(path.Dir(from.path), u.Path)
	if known := r.files[at]; known != nil {
		return known, ""
	}
	if !fs.ValidPath(at) {
		return nil, "it is not in the folder of the document"
	}
	text, err := fs.ReadFile(r.options.Files, at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "there is no such file"
	case err != nil:
		return nil, "the file cannot be read"
	}
	if r.bytes += len(text); r.bytes > maxBytes || len(r.files) > maxFiles {
		return nil, "the document has too many files"
	}
	in, err := newSource(printable(path.Join(path.Dir(r.root.in.name), at)), at, text)
	if err != nil {
		return nil, "the file is no YAML: " + printable(err.Error())
	}
	r.files[at] = in
	return in, ""
}

// maxFiles bounds the files of one document.
const maxFiles = 10_000

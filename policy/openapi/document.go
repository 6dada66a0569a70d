package openapi

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"scopeward/internal/strictyaml"
)

// maxBytes bounds a document: the largest known public ones have 20 MB.
const maxBytes = 64 << 20

// Options say how a document is read.
type Options struct {
	AnyHost bool              // leave out the hosts of the servers: patterns are for all hosts
	Schemes map[string]string // the providers that check the credentials of security schemes
	Scopes  Scopes
	Prefix  string // before each scope that the document names
	Files   fs.FS  // the folder of the document, whose files it may name; nil: none
	Base    string // the document's own name in there
}

// Scopes says how the scopes of a document are read.
type Scopes uint8

const (
	ScopesAll   Scopes = iota // a token needs all scopes that a scheme lists (OpenAPI)
	ScopesAny                 // one of them
	ScopesKinde               // each operation has its own, as scopes are named in Kinde
)

// Read reads an OpenAPI document; file is for positions. References to other files are
// followed into options.Files; what is behind others is denied. The error is of type
// strictyaml.Problems.
func Read(file string, data io.Reader, options Options) (*Document, error) {
	file = printable(file) // it gets into comments
	text, err := io.ReadAll(io.LimitReader(data, maxBytes+1))
	switch {
	case err != nil:
		return nil, strictyaml.Unreadable(file, err).Err()
	case len(text) > maxBytes:
		return nil, problem(strictyaml.Pos{File: file}, "is larger than %d MiB", maxBytes>>20)
	}
	root, err := load(file, text, options)
	if err != nil {
		return nil, err
	}
	return read(file, root, options)
}

func problem(pos strictyaml.Pos, format string, args ...any) error {
	return strictyaml.Problems{{Pos: pos, Message: fmt.Sprintf(format, args...)}}
}

// load parses the document, and refuses one of another kind.
func load(file string, text []byte, options Options) (node, error) {
	in, err := newSource(file, cmp.Or(options.Base, "openapi"), text)
	if err != nil {
		return node{}, err
	}
	root := in.root
	version, at := root.get("openapi"), strictyaml.Pos{File: file}
	switch v := version.text(); {
	case known.MatchString(v):
		return root, nil
	case version.Node != nil:
		return node{}, problem(at, "is OpenAPI %s: 3.0 to 3.2 can be read", printable(v))
	case root.get("swagger").Node != nil:
		return node{}, problem(at, "is Swagger %s: convert it to OpenAPI 3.0 to 3.2 first", printable(root.get("swagger").text()))
	default:
		return node{}, problem(at, "is no OpenAPI document: it does not say openapi: 3.0 to 3.2")
	}
}

var known = regexp.MustCompile(`^3\.[012](\.|$)`)

// printable makes one line of text that came from a document, without
// characters that YAML or a terminal would act on.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > 200 {
		s = string(runes[:200]) + "…"
	}
	return s
}

// read takes from the document what is about access.
func read(file string, root node, options Options) (*Document, error) {
	info := root.get("info")
	d := &Document{File: file, Title: printable(info.get("title").text()), Version: printable(info.get("version").text())}
	r := &reader{
		file: file, options: options, root: root, security: root.get("security"), servers: root.get("servers"),
		files: map[string]*source{root.in.path: root.in},
	}
	for name := range options.Schemes {
		if root.get("components").get("securitySchemes").get(name).Node == nil {
			return nil, problem(strictyaml.Pos{File: file}, "has no security scheme %s", strconv.Quote(printable(name)))
		}
	}
	paths := root.get("paths")
	for i := 0; paths.isMapping() && i+1 < len(paths.Content); i += 2 {
		key := paths.child(i)
		if path := key.text(); !strings.HasPrefix(path, "x-") {
			r.path(path, key, paths.child(i+1))
		}
	}
	d.Operations = r.operations
	for _, in := range r.files {
		r.problems = append(r.problems, in.problems...)
	}
	if len(r.problems) > 0 {
		return nil, r.problems.Err()
	}
	if len(d.Operations) == 0 {
		return nil, problem(strictyaml.Pos{File: file}, "has no operation: a policy without a rule denies everything")
	}
	rules, ok := separate(d.Operations)
	if !ok {
		return nil, problem(strictyaml.Pos{File: file}, "has paths that overlap in more than %d ways", maxEntries)
	}
	d.rules = rules
	return d, nil
}

// reader collects the operations of a document.
type reader struct {
	file       string
	options    Options
	root       node
	security   node // the document's
	servers    node
	operations []*Operation
	problems   strictyaml.Problems
	files      map[string]*source // by their names in the folder of the document
	bytes      int                // of the other files
}

func (r *reader) pos(n node) strictyaml.Pos {
	if n.Node == nil {
		return strictyaml.Pos{File: r.file}
	}
	return strictyaml.Pos{File: n.in.name, Line: n.Line, Column: n.Column}
}

// path reads the operations of a path item.
func (r *reader) path(path string, key, written node) {
	if !strings.HasPrefix(path, "/") {
		r.problems = append(r.problems, strictyaml.Problem{Pos: r.pos(key), Message: fmt.Sprintf("path %q does not start with a slash", printable(path))})
		return
	}
	root, fault, why := r.follow(written)
	if !root.isMapping() {
		if why == "" {
			fault, why = key, "the path item cannot be read"
		}
		r.unresolved(path, key, fault, why)
		return
	}
	for _, method := range []string{"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"} {
		r.operation(strings.ToUpper(method), path, root, root.key(method), root.get(method))
	}
	more := root.get("additionalOperations") // OpenAPI 3.2
	for i := 0; more.isMapping() && i+1 < len(more.Content); i += 2 {
		r.operation(more.child(i).text(), path, root, more.child(i), more.child(i+1))
	}
}

// operation reads an operation of a path item.
func (r *reader) operation(method, path string, item, at, written node) {
	if at.Node == nil {
		return
	}
	op := &Operation{Method: method, Path: path, Pos: r.pos(at)}
	r.operations = append(r.operations, op)
	body, fault, why := r.follow(written)
	switch {
	case why != "":
		op.note(r.pos(fault), "%s", why)
	case !body.isMapping():
		op.note(r.pos(written), "the operation cannot be read")
	default:
		op.ID = printable(body.get("operationId").text())
		r.read(op, body, item.get("servers"))
		return
	}
	op.targets, op.closed = pathTargets(path), true
}

// unresolved denies a path item that is somewhere else, with all its methods.
func (r *reader) unresolved(path string, key, fault node, why string) {
	op := &Operation{Path: path, Pos: r.pos(key)}
	op.note(r.pos(fault), "%s", why)
	servers := r.serverTargets(op, r.servers)
	for _, server := range servers {
		op.targets = append(op.targets, server.join(path))
	}
	op.closed = true
	r.operations = append(r.operations, op)
}

func (r *reader) read(op *Operation, body, pathServers node) {
	security := body.get("security")
	if security.Node == nil {
		security = r.security
	}
	op.Requirement = r.requirement(op, security)
	servers := r.servers
	for _, nearer := range []node{pathServers, body.get("servers")} {
		if nearer.Node != nil && (!nearer.isSequence() || len(nearer.Content) > 0) {
			servers = nearer
		}
	}
	for _, server := range r.serverTargets(op, servers) {
		t := server.join(op.Path)
		if !slices.ContainsFunc(op.targets, func(have target) bool { return have.String() == t.String() }) {
			op.targets = append(op.targets, t)
		}
	}
	if len(op.targets) == 0 {
		op.targets, op.closed = pathTargets(op.Path), true
	}
	for _, t := range op.targets {
		if t.partial != "" {
			op.closed = true
			op.note(op.Pos, "%s", t.partial)
			break
		}
	}
}

func (o *Operation) note(pos strictyaml.Pos, format string, args ...any) {
	o.Notes = append(o.Notes, Note{pos, fmt.Sprintf(format, args...)})
}

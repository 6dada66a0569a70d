package openapi

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"scopeward/internal/strictyaml"
)

// maxBytes bounds a document: the largest known public ones have 20 MB.
const maxBytes = 64 << 20

// Options say how a document is read.
type Options struct {
	AnyHost bool // leave out the hosts of the servers: patterns are for all hosts
}

// Read reads an OpenAPI document; file is for positions. References to other
// files are not followed: what is behind them is denied. The error is of type
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
	root, err := load(file, text)
	if err != nil {
		return nil, err
	}
	return read(file, root, options)
}

func problem(pos strictyaml.Pos, format string, args ...any) error {
	return strictyaml.Problems{{Pos: pos, Message: fmt.Sprintf(format, args...)}}
}

// load parses the document, and refuses one of another kind.
func load(file string, text []byte) (node, error) {
	parsed, err := strictyaml.Parse(file, text, maxBytes)
	if err != nil {
		return node{}, err
	}
	root := resolve(parsed)
	version, at := root.get("openapi"), strictyaml.Pos{File: file}
	switch v := version.text(); {
	case v == "3.0", v == "3.1", strings.HasPrefix(v, "3.0."), strings.HasPrefix(v, "3.1."):
		return root, nil
	case version.Node != nil:
		return node{}, problem(at, "is OpenAPI %s: 3.0 and 3.1 can be read", printable(v))
	case root.get("swagger").Node != nil:
		return node{}, problem(at, "is Swagger %s: convert it to OpenAPI 3.0 or 3.1 first", printable(root.get("swagger").text()))
	default:
		return node{}, problem(at, "is no OpenAPI document: it does not say openapi: 3.0 or 3.1")
	}
}

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
	r := &reader{file: file, options: options, root: root, security: root.get("security"), servers: root.get("servers")}
	paths := root.get("paths")
	for i := 0; paths.isMapping() && i+1 < len(paths.Content); i += 2 {
		key := resolve(paths.Content[i])
		if path := key.text(); !strings.HasPrefix(path, "x-") {
			r.path(path, key, resolve(paths.Content[i+1]))
		}
	}
	d.Operations = r.operations
	if len(r.problems) > 0 {
		return nil, r.problems.Err()
	}
	if len(d.Operations) == 0 {
		return nil, problem(strictyaml.Pos{File: file}, "has no operation: a policy without a rule denies everything")
	}
	d.rules = separate(d.Operations)
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
}

func (r *reader) pos(n node) strictyaml.Pos {
	if n.Node == nil {
		return strictyaml.Pos{File: r.file}
	}
	return strictyaml.Pos{File: r.file, Line: n.Line, Column: n.Column}
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
	for _, method := range []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"} {
		at := root.key(method)
		if at.Node == nil {
			continue
		}
		op := &Operation{Method: strings.ToUpper(method), Path: path, Pos: r.pos(at)}
		body := root.get(method)
		if !body.isMapping() || body.get("$ref").Node != nil {
			op.note(r.pos(body), "the operation cannot be read")
			op.targets, op.closed = pathTargets(path), true
			r.operations = append(r.operations, op)
			continue
		}
		op.ID = printable(body.get("operationId").text())
		r.read(op, body, root.get("servers"))
		r.operations = append(r.operations, op)
	}
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

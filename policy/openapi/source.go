package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"scopeward/internal/strictyaml"
)

// source is a file of a document. JSON is read as far as it is asked for: what is about
// access is a small part of it.
type source struct {
	name     string // for positions
	path     string // in the folder of the document
	root     node
	text     []byte
	lines    []int // where each line of the text begins
	problems strictyaml.Problems
}

// unread is the kind of a node of which the value is at a place of the text: Line is where
// it begins, Column where it ends.
const unread yaml.Kind = 1 << 7

func newSource(name, path string, text []byte) (*source, error) {
	in := &source{name: name, path: path}
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' && json.Valid(text) && utf8.Valid(text) {
		in.text, in.lines = text, []int{0}
		for i, c := range text {
			if c == '\n' {
				in.lines = append(in.lines, i+1)
			}
		}
		in.root = in.resolve(in.at(len(text) - len(trimmed)))
		if len(in.problems) > 0 {
			return nil, in.problems
		}
		return in, nil
	}
	parsed, err := strictyaml.Parse(name, text, maxBytes)
	if err != nil {
		return nil, err
	}
	in.root = in.resolve(parsed)
	return in, nil
}

// at gives the value at a place of the text.
func (in *source) at(start int) *yaml.Node {
	return &yaml.Node{Kind: unread, Line: start, Column: in.end(start)}
}

// read reads a value, and of what is in it only where it is.
func (in *source) read(n *yaml.Node) {
	start, end := n.Line, n.Column
	value := in.text[start:end]
	*n = yaml.Node{Kind: yaml.ScalarNode, Value: string(value)}
	n.Line, n.Column = in.place(start)
	switch value[0] {
	case '{':
		n.Kind, n.Tag, n.Value = yaml.MappingNode, "!!map", ""
		keys := map[string]bool{}
		for i := in.skip(start + 1); in.text[i] != '}'; {
			key := in.at(i)
			colon := in.skip(key.Column)
			child := in.at(in.skip(colon + 1))
			i = in.next(child.Column)
			if in.read(key); keys[key.Value] {
				in.problems = append(in.problems, strictyaml.Problem{
					Pos:     strictyaml.Pos{File: in.name, Line: key.Line, Column: key.Column},
					Message: fmt.Sprintf("key %q is already defined", key.Value),
				})
			}
			keys[key.Value] = true
			n.Content = append(n.Content, key, child)
		}
	case '[':
		n.Kind, n.Tag, n.Value = yaml.SequenceNode, "!!seq", ""
		for i := in.skip(start + 1); in.text[i] != ']'; {
			child := in.at(i)
			i = in.next(child.Column)
			n.Content = append(n.Content, child)
		}
	case '"':
		n.Tag, n.Style = "!!str", yaml.DoubleQuotedStyle
		if err := json.Unmarshal(value, &n.Value); err != nil {
			n.Value, n.Tag = "", "!!null" // the text is valid
		}
	case 't', 'f':
		n.Tag = "!!bool"
	case 'n':
		n.Tag = "!!null"
	default:
		n.Tag = "!!int"
		if _, err := strconv.ParseInt(n.Value, 10, 64); err != nil {
			n.Tag = "!!float"
		}
	}
}

// skip gives the first place that is no white space.
func (in *source) skip(i int) int {
	for in.text[i] == ' ' || in.text[i] == '\t' || in.text[i] == '\r' || in.text[i] == '\n' {
		i++
	}
	return i
}

// next gives the place of what follows an element: another one, or the end of all.
func (in *source) next(i int) int {
	if i = in.skip(i); in.text[i] == ',' {
		return in.skip(i + 1)
	}
	return i
}

// end gives where the value ends that begins at a place. The text is valid JSON.
func (in *source) end(i int) int {
	for depth := 0; i < len(in.text); i++ {
		switch in.text[i] {
		case '"':
			for i++; in.text[i] != '"'; i++ {
				if in.text[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
			if depth < 0 {
				return i
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return len(in.text)
}

// place gives the line and the column of a place, in characters.
func (in *source) place(at int) (line, column int) {
	line = sort.SearchInts(in.lines, at+1)
	return line, utf8.RuneCount(in.text[in.lines[line-1]:at]) + 1
}

package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

const (
	maxBytes = 10 << 20 // of a file
	maxDepth = 100      // of nesting, in the text and through aliases

	// perMark bounds the separators in the text, and so the nodes that the YAML
	// parser makes of it: a node costs it some 2 KB of garbage.
	perMark = 20 // bytes of the limit for each

	// perVisit bounds the nodes that are decoded, which aliases multiply.
	perVisit = 10 // bytes of the limit for each
)

// source is the text of a file, without a byte order mark.
type source struct {
	file  string
	data  []byte
	lines []int // where each line starts
	limit int   // of its bytes
}

func newSource(file string, data []byte, limit int) *source {
	s := &source{file: file, data: bytes.TrimPrefix(data, []byte("\uFEFF")), lines: []int{0}, limit: limit}
	for i, c := range s.data {
		// YAML breaks lines at LF, CR LF and CR alone.
		if c == '\n' || c == '\r' && (i+1 == len(s.data) || s.data[i+1] != '\n') {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// offset gives the byte at a line and column, both from 1; -1 if there is none.
func (s *source) offset(line, column int) int {
	if line < 1 || line > len(s.lines) {
		return -1
	}
	at := s.lines[line-1]
	for ; column > 1; column-- {
		if at >= len(s.data) {
			return -1
		}
		_, size := utf8.DecodeRune(s.data[at:])
		at += size
	}
	return at
}

// pos is the inverse of offset; line says on which line to start looking.
func (s *source) pos(at, line int) Pos {
	for line < len(s.lines) && s.lines[line] <= at {
		line++
	}
	return Pos{s.file, line, utf8.RuneCount(s.data[s.lines[line-1]:at]) + 1}
}

// check refuses what no YAML file should hold, before the YAML parser sees it.
func (s *source) check() *Problem {
	if len(s.data) > s.limit {
		return &Problem{Pos{File: s.file}, fmt.Sprintf("the file is too large: the limit is %d MiB", s.limit>>20)}
	}
	marks, maxMarks := 0, s.limit/perMark
	for at := 0; at < len(s.data); {
		r, size := utf8.DecodeRune(s.data[at:])
		message := ""
		switch {
		case r == utf8.RuneError && size == 1:
			message = fmt.Sprintf("byte 0x%02x is not UTF-8: save the file as UTF-8", s.data[at])
		case r == '\n' || r == '\r' || r == ',' || r == ':' || r == '[' || r == '{':
			if marks++; marks > maxMarks {
				message = fmt.Sprintf("the file is too complex: more than %d lines, keys and list elements", maxMarks)
			}
		case r == '\t':
		case unicode.IsControl(r), r == 0xFEFF, r == 0xFFFE, r == 0xFFFF:
			message = fmt.Sprintf("control character U+%04X is not allowed", r)
		}
		if message != "" {
			return &Problem{s.pos(at, 1), message}
		}
		at += size
	}
	return nil
}

// Parse reads a file of others: its one document, as YAML nodes, in which no mapping has
// a key twice. It may have so many bytes. JSON is YAML, too.
func Parse(file string, data []byte, limit int) (*yaml.Node, error) {
	s := newSource(file, data, limit)
	if jsontext.Value(s.data).IsValid() {
		s.data = yamlOf(s.data)
	}
	root, problem := s.parse()
	if problem == nil {
		problem = s.repeated(root)
	}
	if problem != nil {
		return nil, Problems{*problem}
	}
	return root, nil
}

// yamlOf writes what YAML does not take of JSON otherwise: tabs, which it has for no
// indentation, and the escapes of characters beyond U+FFFF, which JSON writes as two.
func yamlOf(valid []byte) []byte {
	return escape.ReplaceAllFunc(bytes.ReplaceAll(valid, []byte("\t"), []byte(" ")), func(found []byte) []byte {
		if len(found) == 2 {
			return found
		}
		high, _ := strconv.ParseUint(string(found[2:6]), 16, 16)
		low, _ := strconv.ParseUint(string(found[8:12]), 16, 16)
		return fmt.Appendf(nil, `\U%08x`, utf16.DecodeRune(rune(high), rune(low)))
	})
}

// escape finds each escape of a text, so that none is taken for one that follows a
// backslash which is escaped itself.
var escape = regexp.MustCompile(`\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|.)`)

// repeated finds a key that its mapping has already.
func (s *source) repeated(n *yaml.Node) *Problem {
	if n.Kind == yaml.MappingNode {
		lines := make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if line, ok := lines[key.Value]; ok && key.Kind == yaml.ScalarNode {
				return &Problem{Pos{s.file, key.Line, key.Column}, fmt.Sprintf("key %q is already defined at line %d", key.Value, line)}
			}
			lines[key.Value] = key.Line
		}
	}
	for _, child := range n.Content {
		if p := s.repeated(child); p != nil {
			return p
		}
	}
	return nil
}

// parse reads the one document of the text.
func (s *source) parse() (*yaml.Node, *Problem) {
	if p := s.check(); p != nil {
		return nil, p
	}
	loader, err := yaml.NewLoader(&calmReader{s.data}, yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		return nil, s.syntaxProblem(err)
	}
	var doc, next yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		return nil, &Problem{Pos{s.file, 1, 1}, "the file is empty"}
	case err != nil:
		return nil, s.syntaxProblem(err)
	}
	switch err := loader.Load(&next); {
	case err == nil:
		return nil, &Problem{Pos{s.file, next.Line, next.Column}, "a second document starts here: only one is allowed in a file"}
	case !errors.Is(err, io.EOF):
		return nil, s.syntaxProblem(err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, &Problem{Pos{s.file, 1, 1}, "the file is empty"}
	}
	root := doc.Content[0]
	if isNull(root) {
		return nil, &Problem{Pos{s.file, 1, 1}, "the file is empty"}
	}
	return root, nil
}

// syntaxProblem says in one line what the YAML parser found, and where.
func (s *source) syntaxProblem(err error) *Problem {
	var load *yaml.LoadError
	if !errors.As(err, &load) {
		return &Problem{Pos{s.file, 1, 1}, "not YAML: " + oneLine(err.Error())}
	}
	at := Pos{s.file, load.Mark.Line, load.Mark.Column}
	if at.Line == 0 {
		at.Line, at.Column = load.ContextMark.Line, load.ContextMark.Column
	}
	if at.Line == 0 {
		at.Line, at.Column = 1, 1
	}
	at.Column = max(at.Column, 1)
	if s.tabIndented(at.Line) {
		return &Problem{at, "a tab cannot indent YAML: use spaces"}
	}
	if strings.HasPrefix(load.Message, "exceeded max depth") {
		return &Problem{at, fmt.Sprintf("nested too deep: more than %d levels", maxDepth)}
	}
	message := "not YAML: " + load.Message
	if load.ContextMsg != "" {
		message += " " + load.ContextMsg
	}
	if start := load.ContextMark; start.Line != 0 && start.Line != at.Line {
		message += fmt.Sprintf(" that starts at line %d", start.Line)
	}
	return &Problem{at, message + s.quoteAdvice(at.Line)}
}

var (
	bracesInFlow = regexp.MustCompile(`[\[{,]\s*[^"'\[{,\s][^"'\[\],]*\{`)
	quotedStart  = regexp.MustCompile(`^\s*(?:- +)*[\w.-]+:\s+(?:"[^"]*"|'[^']*'|\[.*\]|\{.*\})[^\s,#]*\s*[^\s#]`)
	specialStart = regexp.MustCompile(`^\s*(?:- +)*(?:[\w.-]+:\s+)?[!&*%@` + "`" + `]|: .*: `)
)

// quoteAdvice gives the end of a message about a line that lacks quotes, as far as it tells.
func (s *source) quoteAdvice(line int) string {
	start := s.offset(line, 1)
	if start < 0 {
		return ""
	}
	text, _, _ := bytes.Cut(s.data[start:], []byte("\n"))
	switch {
	case bracesInFlow.Match(text):
		return `; quote text that has braces, as in ["GET /users/{id}"]`
	case quotedStart.Match(text):
		return `; quote the value as a whole, as in when: '"admin" in identity.scopes'`
	case specialStart.Match(text):
		return "; quote the value: its first character, or a colon and a space in it, mean something in YAML"
	}
	return ""
}

func (s *source) tabIndented(line int) bool {
	start := s.offset(line, 1)
	if start < 0 {
		return false
	}
	rest := s.data[start:]
	indent := rest[:len(rest)-len(bytes.TrimLeft(rest, " \t"))]
	return bytes.IndexByte(indent, '\t') >= 0
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

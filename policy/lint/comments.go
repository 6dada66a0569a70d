package lint

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
)

// ignore is a comment `# lint:ignore NAME reason`.
type ignore struct {
	pos     strictyaml.Pos
	target  int // the line that it is about
	check   string
	problem string // why it silences nothing
	used    bool
}

const marker = "lint:ignore"

// ignores reads the comments of a file. YAML's nodes have no places for their
// comments, so the text is read, with the help of the nodes: a # in a quoted or
// block scalar is none.
func ignores(f policy.File) []*ignore {
	if !bytes.Contains(f.Data, []byte(marker)) {
		return nil
	}
	t := scan(f.Data)
	var all []*ignore
	for i, line := range t.lines {
		at := t.comment(i)
		if at < 0 {
			continue
		}
		words := strings.TrimSpace(strings.TrimLeft(line[at:], "#"))
		rest, ok := strings.CutPrefix(words, marker)
		if !ok {
			continue
		}
		ig := &ignore{pos: strictyaml.Pos{File: f.Name, Line: i + 1, Column: utf8.RuneCountInString(line[:at]) + 1}, target: i + 1}
		ig.read(rest)
		if strings.TrimSpace(line[:at]) == "" { // a line of its own: the next one is meant
			for ig.target < len(t.lines) && t.commentOnly(ig.target-1) {
				ig.target++
			}
		}
		all = append(all, ig)
	}
	return all
}

func (ig *ignore) read(rest string) {
	name, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
	var known []string
	for _, c := range Checks() {
		known = append(known, c.Name)
	}
	ig.check = name
	switch {
	case rest != "" && rest[0] != ' ' && rest[0] != '\t', name == "":
		ig.problem = "it names no check"
	case !slices.Contains(known, name):
		ig.problem = fmt.Sprintf("there is no check %q", name)
		if near := strictyaml.Nearest(name, known); near != "" {
			ig.problem += fmt.Sprintf("; did you mean %s?", near)
		}
	case strings.TrimSpace(reason) == "":
		ig.problem = "it gives no reason"
	}
}

// commentFindings gives what is wrong with the comments, after all checks.
func (d *document) commentFindings() []Finding {
	var found []Finding
	for _, ig := range d.ignores {
		switch {
		case ig.problem != "":
			found = append(found, Finding{ig.pos, badIgnore, "the comment silences nothing: " + ig.problem, "write # lint:ignore NAME reason"})
		case !ig.used:
			found = append(found, Finding{ig.pos, unusedIgnore, fmt.Sprintf("the comment silences nothing: %s finds nothing here", ig.check), "remove it"})
		}
	}
	return found
}

// text is the lines of a file and where its quoted and block scalars stand.
type text struct {
	lines []string
	masks map[int][]span // by line, from 0
}

type span struct{ from, to int } // bytes

// scan finds the scalars of a file that YAML can read.
func scan(data []byte) *text {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	t := &text{lines: splitLines(string(data)), masks: map[int][]span{}}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err == nil {
		t.mask(&root, -1)
	}
	return t
}

// comment gives the byte where the comment of a line starts, -1 if it has none:
// at a # at the start or after white space (YAML 1.2.2 §6.6).
func (t *text) comment(line int) int {
	s := t.lines[line]
next:
	for i := 0; i < len(s); i++ {
		if s[i] != '#' || i > 0 && s[i-1] != ' ' && s[i-1] != '\t' {
			continue
		}
		for _, m := range t.masks[line] {
			if m.from <= i && i < m.to {
				continue next
			}
		}
		return i
	}
	return -1
}

func (t *text) commentOnly(line int) bool {
	at := t.comment(line)
	return at >= 0 && strings.TrimSpace(t.lines[line][:at]) == ""
}

// mask notes where the scalars below n stand; indent is that of the mapping or
// list that n is in, -1 for none.
func (t *text) mask(n *yaml.Node, indent int) {
	switch n.Kind {
	case yaml.ScalarNode:
		switch {
		case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
			t.maskBlock(n.Line-1, indent)
		case n.Style&yaml.DoubleQuotedStyle != 0:
			t.maskQuoted(n, '"')
		case n.Style&yaml.SingleQuotedStyle != 0:
			t.maskQuoted(n, '\'')
		}
	case yaml.SequenceNode, yaml.MappingNode, yaml.DocumentNode:
		if n.Kind != yaml.DocumentNode {
			indent = n.Column - 1
		}
		for _, c := range n.Content {
			t.mask(c, indent)
		}
	}
}

// maskBlock masks the lines below the head of a block scalar: those that are
// empty or indented as its first line is, and more than its parent.
func (t *text) maskBlock(head, parent int) {
	own := 0
	if at := strings.LastIndexAny(beforeComment(t.lines[head]), "|>"); at >= 0 {
		for _, c := range t.lines[head][at:] {
			if '1' <= c && c <= '9' {
				own = max(parent, 0) + int(c-'0')
				break
			}
			if c == ' ' {
				break
			}
		}
	}
	for i := head + 1; i < len(t.lines); i++ {
		line := t.lines[i]
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if strings.TrimSpace(line) == "" {
			continue
		}
		if own == 0 {
			own = max(indent, parent+1)
		}
		if indent < own {
			return
		}
		t.masks[i] = append(t.masks[i], span{0, len(line)})
	}
}

// beforeComment cuts the comment off the head of a block scalar.
func beforeComment(head string) string {
	if at := strings.LastIndex(head, " #"); at >= 0 && strings.ContainsAny(head[:at], "|>") {
		return head[:at]
	}
	return head
}

// maskQuoted masks a scalar from its quote to the one that ends it.
func (t *text) maskQuoted(n *yaml.Node, quote byte) {
	line := n.Line - 1
	if line >= len(t.lines) {
		return
	}
	at := 0
	for range n.Column - 1 {
		_, size := utf8.DecodeRuneInString(t.lines[line][at:])
		at += size
	}
	open := strings.IndexByte(t.lines[line][at:], quote) // behind an anchor
	if open < 0 {
		return
	}
	at += open
	from := at
	for at++; line < len(t.lines); line, at, from = line+1, 0, 0 {
		s := t.lines[line]
		for ; at < len(s); at++ {
			switch {
			case quote == '"' && s[at] == '\\', quote == '\'' && strings.HasPrefix(s[at:], "''"):
				at++
			case s[at] == quote:
				t.masks[line] = append(t.masks[line], span{from, at + 1})
				return
			}
		}
		t.masks[line] = append(t.masks[line], span{from, len(s)})
	}
}

// splitLines breaks lines where YAML does: at LF, CR LF and CR alone.
func splitLines(s string) []string {
	return strings.Split(strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n"), "\n")
}

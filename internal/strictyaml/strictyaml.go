// Package strictyaml decodes YAML into Go structs, strictly, and says of each
// mistake where it stands.
//
// It refuses what YAML parsers tend to forgive: unknown and repeated keys,
// values of another type, several documents, empty files, merge keys and tags.
// All mistakes of a file are reported at once.
package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in a file. Line and Column count from 1, columns in
// characters; Line 0 means the file as a whole.
type Pos struct {
	File         string
	Line, Column int
}

// String gives file:line:column, or the file alone if Line is 0.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problem is one mistake in a file.
type Problem struct {
	Pos
	Message string
}

// Error gives "file:line:column: message".
func (p Problem) Error() string { return p.Pos.String() + ": " + p.Message }

// Problems are all mistakes that were found. An empty list is no error: return
// it as one through Err.
type Problems []Problem

// Error gives one problem per line, sorted by position.
func (ps Problems) Error() string {
	sorted := ps.Sorted()
	lines := make([]string, len(sorted))
	for i, p := range sorted {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Err gives the problems, sorted, as an error; nil if there are none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps.Sorted()
}

// Sorted gives the problems in the order of file, line and column.
func (ps Problems) Sorted() Problems {
	sorted := slices.Clone(ps)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return sorted
}

// Located is a value that remembers where it stood.
type Located[T any] struct {
	Value T
	Pos   Pos
}

// OneOrMore is a list that may also be written as its only element.
type OneOrMore[T any] []T

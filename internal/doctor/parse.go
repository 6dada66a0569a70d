package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// MaxBytes bounds what is read of an Envoy: the config dumps of large meshes
// have some tens of megabytes.
const MaxBytes = 128 << 20

const (
	maxYAML   = 4 << 20   // a node of YAML costs far more memory than one of JSON
	maxDepth  = 200       // of nesting
	maxVisits = 1_000_000 // of YAML nodes, which aliases multiply
)

// parse reads JSON or YAML. In YAML, what stands where is kept.
func parse(data []byte) (root *node, document *yaml.Node, err error) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	switch {
	case len(data) > MaxBytes:
		return nil, nil, fmt.Errorf("it is too large: the limit is %d MiB", MaxBytes>>20)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, nil, errors.New("it is empty")
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		return nil, nil, errors.New("it is not text")
	}
	var value any
	invalid := json.Unmarshal(data, &value)
	if invalid == nil {
		return &node{value: value}, nil, nil
	}
	if len(data) > maxYAML {
		return nil, nil, fmt.Errorf("it is not JSON (%w), and too large for YAML: the limit is %d MiB", invalid, maxYAML>>20)
	}
	if document, err = parseYAML(data); err != nil {
		return nil, nil, err
	}
	visits := 0
	value, err = plain(document, 0, &visits)
	return &node{value: value}, document, err
}

func parseYAML(data []byte) (*yaml.Node, error) {
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		return nil, err
	}
	var document, next yaml.Node
	if err := loader.Load(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty")
		}
		return nil, notYAML(err)
	}
	if err := loader.Load(&next); err == nil {
		return nil, fmt.Errorf("a second document starts in line %d: Envoy takes one only", next.Line)
	}
	if document.Kind == yaml.DocumentNode && len(document.Content) == 1 {
		return document.Content[0], nil
	}
	return &document, nil
}

func notYAML(err error) error {
	var load *yaml.LoadError
	if errors.As(err, &load) {
		return fmt.Errorf("it is neither JSON nor YAML: line %d: %s", max(load.Mark.Line, 1), load.Message)
	}
	return fmt.Errorf("it is neither JSON nor YAML: %w", err)
}

// plain makes of a YAML node what encoding/json makes of JSON.
func plain(n *yaml.Node, depth int, visits *int) (any, error) {
	if *visits++; *visits > maxVisits || depth > maxDepth {
		return nil, errors.New("its aliases make it too large")
	}
	switch n.Kind {
	case yaml.AliasNode:
		return plain(n.Alias, depth+1, visits)
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Tag == "!ignore" { // Envoy's way to put anchors somewhere
				continue
			}
			value, err := plain(n.Content[i+1], depth+1, visits)
			if err != nil {
				return nil, err
			}
			m[n.Content[i].Value] = value
		}
		return m, nil
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			value, err := plain(c, depth+1, visits)
			if err != nil {
				return nil, err
			}
			list[i] = value
		}
		return list, nil
	default:
		return scalar(n), nil
	}
}

func scalar(n *yaml.Node) any {
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		var f float64
		if n.Decode(&f) == nil {
			return f
		}
	}
	return n.Value
}

// locate gives line and column of a node in the YAML that it was read from, or of
// the innermost place on the way to it that is written there. They are 0 in JSON.
func locate(document *yaml.Node, n *node) (line, column int) {
	if document == nil {
		return 0, 0
	}
	var way []*node // from the inside out; the last is the root
	for a := range n.ancestors() {
		way = append(way, a)
	}
	line, column = document.Line, document.Column
	for i := len(way) - 2; i >= 0; i-- {
		key, value := step(document, way[i])
		if value == nil {
			break
		}
		line, column, document = key.Line, key.Column, value
	}
	return line, column
}

// step gives the YAML of a node, and of its key, in that of the node above.
func step(document *yaml.Node, to *node) (key, value *yaml.Node) {
	for document.Kind == yaml.AliasNode {
		document = document.Alias
	}
	switch {
	case document.Kind == yaml.SequenceNode && to.key == "" && to.index < len(document.Content):
		return document.Content[to.index], document.Content[to.index]
	case document.Kind == yaml.MappingNode:
		for i := len(document.Content) - 2; i >= 0; i -= 2 { // of one key the last counts
			if document.Content[i].Value == to.key && document.Content[i].Tag != "!ignore" {
				return document.Content[i], document.Content[i+1]
			}
		}
	}
	return nil, nil
}

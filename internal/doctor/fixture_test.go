package doctor

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// fixture is a case of testdata/findings.yaml or testdata/good.yaml.
type fixture struct {
	Finding  string            `yaml:"finding"` // "" where nothing is to be found
	Name     string            `yaml:"name"`
	Set      yaml.Node         `yaml:"set"`  // in order
	Says     string            `yaml:"says"` // why, to people
	At       string            `yaml:"at"`
	Opens    string            `yaml:"opens"`    // "listener path": gets to the service without Scopeward
	Upgrade  string            `yaml:"upgrade"`  // of that request
	Allowed  bool              `yaml:"allowed"`  // somebody in Scopeward's place allows everything
	Asks     string            `yaml:"asks"`     // the path of the request; / by default
	Sends    map[string]string `yaml:"sends"`    // its headers
	Sees     map[string]string `yaml:"sees"`     // what the service then sees, :path and headers
	Refused  bool              `yaml:"refused"`  // Envoy takes no such configuration
	Validate bool              `yaml:"validate"` // Envoy can't run it here, and checks it only
	Options  fixtureOptions    `yaml:"options"`
	places   map[string]string
}

type fixtureOptions struct {
	Cluster           string        `yaml:"cluster"`
	TrustedHops       int           `yaml:"trusted_hops"`
	Headers           []string      `yaml:"headers"`
	Timeout           time.Duration `yaml:"timeout"`
	EncodedSlash      bool          `yaml:"encoded_slash"`
	Body              bool          `yaml:"body"`
	EscapedUnreserved bool          `yaml:"escaped_unreserved"`
	Reads             []string      `yaml:"reads"`
	Edits             []string      `yaml:"edits"`
	Ignore            []string      `yaml:"ignore"`
}

func (f *fixture) title() string {
	return strings.Trim(f.Finding+"/"+strings.ReplaceAll(f.Name, " ", "_"), "/")
}

// fixtures reads a file of cases.
func fixtures(t *testing.T, file string) []*fixture {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Places map[string]string
		Cases  []*fixture
	}
	if err := yaml.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	for _, f := range all.Cases {
		f.places = all.Places
	}
	return all.Cases
}

// place writes out the beginning of a place.
func (f *fixture) place(s string) string {
	end := strings.IndexAny(s+".", ".[")
	if whole, ok := f.places[s[:end]]; ok {
		return whole + s[end:]
	}
	return s
}

// change sets a place; nil takes it away.
type change struct {
	place string
	value any
}

func (f *fixture) changes(t *testing.T) (changes []change) {
	t.Helper()
	for i := 0; i+1 < len(f.Set.Content); i += 2 {
		var value any
		if err := f.Set.Content[i+1].Decode(&value); err != nil {
			t.Fatal(err)
		}
		changes = append(changes, change{f.place(f.Set.Content[i].Value), value})
	}
	return changes
}

// where is the place of the finding.
func (f *fixture) where(t *testing.T) string {
	if f.At != "" {
		return f.place(f.At)
	}
	return f.changes(t)[0].place
}

// bootstrap is envoy/minimal.yaml with the changes, and before them those of more.
func (f *fixture) bootstrap(t *testing.T, more ...change) map[string]any {
	t.Helper()
	minimal, err := os.ReadFile("../../envoy/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document any
	if err := yaml.Unmarshal(minimal, &document); err != nil {
		t.Fatal(err)
	}
	for _, c := range append(more, f.changes(t)...) {
		if document, err = set(document, steps(c.place), c.value); err != nil {
			t.Fatalf("%s: %v", c.place, err)
		}
	}
	return document.(map[string]any)
}

func marshal(t *testing.T, document map[string]any) []byte {
	t.Helper()
	out, err := yaml.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// local are the changes with which the bootstrap runs anywhere: ports that the
// system chooses, a service, and nobody in Scopeward's place.
func local(service int) []change {
	const port = "address.socket_address.port_value"
	return []change{
		{"admin." + port, 0},
		{"static_resources.listeners[0]." + port, 0},
		{"static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint." + port, service},
		{authzPort, 1},
	}
}

const authzPort = "static_resources.clusters[1].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value"

// steps splits a place: a.b[0]["c.d"][+1] is a, b, [0, c.d, [+1.
func steps(place string) []string {
	var out []string
	for place != "" {
		switch rest, quoted := strings.CutPrefix(place, `["`); {
		case quoted:
			key, after, _ := strings.Cut(rest, `"]`)
			out, place = append(out, key), after
		case place[0] == '[':
			index, after, _ := strings.Cut(place, "]")
			out, place = append(out, index), after
		default:
			end := strings.IndexAny(place[1:]+".", ".[") + 1
			out, place = append(out, strings.TrimPrefix(place[:end], ".")), place[end:]
		}
	}
	return out
}

func set(document any, steps []string, value any) (any, error) {
	if len(steps) == 0 {
		return value, nil
	}
	if index, ok := strings.CutPrefix(steps[0], "["); ok {
		return setIndex(document, index, steps[1:], value)
	}
	m, ok := document.(map[string]any)
	if !ok {
		if document != nil {
			return nil, fmt.Errorf("%s is not in a mapping", steps[0])
		}
		m = map[string]any{}
	}
	if len(steps) == 1 && value == nil {
		delete(m, steps[0])
		return m, nil
	}
	var err error
	m[steps[0]], err = set(m[steps[0]], steps[1:], value)
	return m, err
}

func setIndex(document any, index string, rest []string, value any) (any, error) {
	list, _ := document.([]any)
	i, err := strconv.Atoi(strings.TrimPrefix(index, "+"))
	switch {
	case err != nil:
		return nil, err
	case index[0] == '+' && i <= len(list):
		list = append(list[:i:i], append([]any{nil}, list[i:]...)...)
	case i >= len(list):
		return nil, fmt.Errorf("no element %d", i)
	case len(rest) == 0 && value == nil:
		return append(list[:i:i], list[i+1:]...), nil
	}
	list[i], err = set(list[i], rest, value)
	return list, err
}

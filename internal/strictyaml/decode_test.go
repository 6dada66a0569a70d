package strictyaml

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

type listen struct {
	Address string `yaml:"address,required"`
	Port    uint16 `yaml:"port"`
}

type config struct {
	Name    string                    `yaml:"name"`
	Mode    string                    `yaml:"mode" enum:"fast|safe"`
	Debug   bool                      `yaml:"debug"`
	Count   int                       `yaml:"count"`
	Ratio   float64                   `yaml:"ratio"`
	Timeout time.Duration             `yaml:"timeout"`
	Tags    []string                  `yaml:"tags"`
	Match   OneOrMore[string]         `yaml:"match"`
	Labels  map[string]string         `yaml:"labels"`
	Listen  *listen                   `yaml:"listen"`
	Inner   listen                    `yaml:"inner"`
	Addr    netip.Addr                `yaml:"addr"`
	Where   Located[string]           `yaml:"where"`
	Wheres  []Located[string]         `yaml:"wheres"`
	Expr    Text                      `yaml:"expr"`
	Any     any                       `yaml:"any"`
	Claims  map[string]any            `yaml:"claims"`
	Blocks  OneOrMore[Located[inner]] `yaml:"blocks"`
	Ignored string
}

type inner struct {
	Value int `yaml:"value"`
}

var ignorePlaces = cmp.Options{
	cmpopts.IgnoreUnexported(Text{}),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func TestDecode(t *testing.T) {
	tests := map[string]struct {
		in   string
		want config
	}{
		"text":         {"name: x", config{Name: "x"}},
		"YAML 1.2":     {"name: off\ntags: [yes, no, on, Off, y]", config{Name: "off", Tags: []string{"yes", "no", "on", "Off", "y"}}},
		"quoted":       {`{name: "12", tags: ['true', "null", "é\n"]}`, config{Name: "12", Tags: []string{"true", "null", "é\n"}}},
		"date is text": {"name: 2026-01-02", config{Name: "2026-01-02"}},
		"numbers":      {"count: -12\nratio: 0.5\ninner: {address: a, port: 65535}", config{Count: -12, Ratio: 0.5, Inner: listen{"a", 65535}}},
		"bool":         {"debug: true", config{Debug: true}},
		"duration":     {"timeout: 1m30s", config{Timeout: 90 * time.Second}},
		"duration 0":   {"timeout: 0", config{}},
		"one":          {"match: a", config{Match: OneOrMore[string]{"a"}}},
		"more":         {"match: [a, b]", config{Match: OneOrMore[string]{"a", "b"}}},
		"map":          {"labels: {a: b, c: d}", config{Labels: map[string]string{"a": "b", "c": "d"}}},
		"pointer":      {"listen: {address: a}", config{Listen: &listen{Address: "a"}}},
		"unmarshaler":  {"addr: 10.0.0.1", config{Addr: netip.MustParseAddr("10.0.0.1")}},
		"located":      {"where:  here", config{Where: Located[string]{"here", Pos{"f", 1, 9}}}},
		"located list": {"wheres:\n- a\n-  b", config{Wheres: []Located[string]{{"a", Pos{"f", 2, 3}}, {"b", Pos{"f", 3, 4}}}}},
		"text place":   {"expr: a b", config{Expr: Text{Value: "a b", Pos: Pos{"f", 1, 7}}}},
		"one struct":   {"blocks: {value: 1}", config{Blocks: OneOrMore[Located[inner]]{{inner{1}, Pos{"f", 1, 9}}}}},
		"any":          {"any: {a: [1, 2.5, x, true, null, {b: ~}]}", config{Any: map[string]any{"a": []any{int64(1), 2.5, "x", true, nil, map[string]any{"b": nil}}}}},
		"claims":       {"claims: {org: x, none: null}", config{Claims: map[string]any{"org": "x", "none": nil}}},
		"CRLF":         {"name: x\r\ntags:\r\n- a\r\n", config{Name: "x", Tags: []string{"a"}}},
		"BOM":          {"\uFEFFwhere: x", config{Where: Located[string]{"x", Pos{"f", 1, 8}}}},
		"alias":        {"tags: &t [a]\nmatch: *t", config{Tags: []string{"a"}, Match: OneOrMore[string]{"a"}}},
		"<< as a text": {"name: <<", config{Name: "<<"}},
		"end marker":   {"---\nname: x\n...\n", config{Name: "x"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got config
			if problems := Decode("f", []byte(test.in), &got); len(problems) > 0 {
				t.Fatalf("problems:\n%v", problems)
			}
			if diff := cmp.Diff(test.want, got, ignorePlaces); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestDecodeKeepsDefaults(t *testing.T) {
	got := config{Name: "default", Timeout: time.Second}
	if problems := Decode("f", []byte("name: x"), &got); len(problems) > 0 {
		t.Fatal(problems)
	}
	if got.Name != "x" || got.Timeout != time.Second {
		t.Errorf("got %q and %v", got.Name, got.Timeout)
	}
}

func TestDecodeProblems(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"unknown key":        {"name: x\ntimout: 1s", `f:2:1: unknown key "timout"; did you mean "timeout"?`},
		"unknown, not near":  {"inner: {address: a, zzzzzz: 1}", `f:1:21: unknown key "zzzzzz"; known here: address, port`},
		"untagged field":     {"Ignored: x\nname: y", `f:1:1: unknown key "Ignored"; known here: name, mode,`},
		"repeated key":       {"name: x\nname: y", `f:2:1: key "name" is repeated: it stands at line 1 already`},
		"repeated map key":   {"labels: {a: b, a: c}", `f:1:16: key "a" is repeated`},
		"repeated any key":   {"any: {a: b, a: c}", `f:1:13: key "a" is repeated`},
		"missing key":        {"listen: {port: 1}", `f:1:9: key "address" is missing`},
		"two documents":      {"name: x\n---\nname: y", `f:2:1: a second document starts here`},
		"empty 2nd document": {"name: x\n---\n", `f:2:1: a second document starts here`},
		"empty":              {"", `f:1:1: the file is empty`},
		"comments only":      {"# nothing\n", `f:1:1: the file is empty`},
		"null document":      {"---\n", `f:1:1: the file is empty`},
		"list document":      {"- a", `f:1:1: the file must be a mapping of keys to values, not a list`},
		"text document":      {"just text", `f:1:1: the file must be a mapping of keys to values, not the text "just text"`},
		"number for text":    {"name: 12", `f:1:7: name must be text, not the number 12: quote it: "12"`},
		"bool for text":      {"tags: [true]", `f:1:8: tags must be text, not true: quote it: "true"`},
		"list for text":      {"name: [a]", `f:1:7: name must be text, not a list`},
		"no value":           {"name:\ndebug: true", `f:1:6: name has no value`},
		"null":               {"listen: ~", `f:1:9: listen has no value`},
		"enum":               {"mode: fats", `f:1:7: mode cannot be "fats"; did you mean "fast"?`},
		"yes for bool":       {"debug: yes", `f:1:8: debug must be true or false, not the text "yes"`},
		"quoted bool":        {"debug: 'true'", `f:1:8: debug must be true or false`},
		"text for number":    {"count: many", `f:1:8: count must be a whole number, not the text "many"`},
		"float for int":      {"count: 1.5", `f:1:8: count must be a whole number, not the number 1.5`},
		"octal":              {"count: 010", `f:1:8: count must be a whole number`},
		"hex":                {"count: 0x10", `f:1:8: count must be a whole number`},
		"int range":          {"inner: {address: a, port: 65536}", `f:1:27: port cannot be 65536: it is out of range`},
		"negative uint":      {"inner: {address: a, port: -1}", `f:1:27: port cannot be -1: it is out of range`},
		"text for float":     {"ratio: x", `f:1:8: ratio must be a number`},
		"duration":           {"timeout: 30", `f:1:10: timeout must be a duration: "30" is a number without a unit`},
		"duration list":      {"timeout: [1s]", `f:1:10: timeout must be a duration such as 30s or 5m, not a list`},
		"scalar for list":    {"tags: a", `f:1:7: tags must be a list, not the text "a"`},
		"list for map":       {"labels: [a]", `f:1:9: labels must be a mapping of keys to values, not a list`},
		"unmarshaler":        {"addr: 10.0.0.256", `f:1:7: addr: ParseAddr("10.0.0.256")`},
		"merge key":          {"inner: &i {address: a}\nlisten: {<<: *i, address: b}", `f:2:10: merge keys (<<) are not supported`},
		"tag":                {"name: !!str 12", `f:1:7: tag "!!str" is not supported`},
		"own tag":            {"name: !x y", `f:1:7: tag "!x" is not supported`},
		"list as key":        {"any: {? [a] : b}", `f:1:9: a key must be text`},
		"number as key":      {"labels: {1: a}", `f:1:10: a key must be text, not the number 1: quote it: "1"`},
		"octal any":          {"any: 0x10", `f:1:6: number 0x10 cannot be read`},
		"unclosed":           {"name: [a\n", `f:2:1: not YAML: did not find expected`},
		"tab":                {"listen:\n\taddress: x", `f:2:1: a tab cannot indent YAML: use spaces`},
		"colon":              {"name: a: b", `f:1:8: not YAML: mapping values are not allowed in this context`},
		"unknown anchor":     {"name: *x", `f:1:7: not YAML: unknown anchor 'x' referenced`},
		"NUL":                {"name: a\x00b", `f:1:8: control character U+0000 is not allowed`},
		"escape":             {"name: x\nmode: \x1b[1m", `f:2:7: control character U+001B is not allowed`},
		"C1":                 {"name: \u0085", `f:1:7: control character U+0085 is not allowed`},
		"not UTF-8":          {"name: é\xff", `f:1:8: byte 0xff is not UTF-8`},
		"UTF-16":             {"\xff\xfen\x00", `f:1:1: byte 0xff is not UTF-8`},
		"alias in itself":    {"any: &a [*a]", `f:1:10: nested too deep: more than 100 levels`},
		"deep":               {"any: " + strings.Repeat("[", 1000), `nested too deep: more than 100 levels`},
		"deep block":         {"any: \n" + strings.Repeat("- ", 1000), `nested too deep: more than 100 levels`},
		"large":              {"name: " + strings.Repeat("x", 10<<20), `f: the file is too large: the limit is 10 MiB`},
		"complex":            {"any: [" + strings.Repeat("a,", 1<<20) + "]", `the file is too complex: more than 524288 lines`},
		"alias bomb":         {bomb(), `too many values: aliases repeat more than 1048576`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got config
			problems := Decode("f", []byte(test.in), &got)
			if len(problems) != 1 || !strings.Contains(problems[0].Error(), test.want) {
				t.Errorf("got\n%v\nwant one that has\n%s", problems, test.want)
			}
		})
	}
}

func bomb() string {
	var b strings.Builder
	b.WriteString("any:\n  a: &a [x, x, x, x, x, x, x, x, x, x]\n")
	for c := 'b'; c <= 'j'; c++ {
		fmt.Fprintf(&b, "  %c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	return b.String()
}

func TestDecodeReportsAllProblems(t *testing.T) {
	var got config
	problems := Decode("f", []byte("nam: x\ncount: y\nlisten:\n  port: z\ntags: [1, a, 2]\n"), &got)
	want := `f:1:1: unknown key "nam"; did you mean "name"?
f:2:8: count must be a whole number, not the text "y"
f:4:3: key "address" is missing
f:4:9: port must be a whole number, not the text "z"
f:5:8: tags must be text, not the number 1: quote it: "1"
f:5:14: tags must be text, not the number 2: quote it: "2"`
	if diff := cmp.Diff(want, problems.Err().Error()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDecodeIntoNoStruct(t *testing.T) {
	for _, v := range []any{nil, config{}, (*config)(nil), new(int)} {
		if problems := Decode("f", []byte("a: b"), v); len(problems) != 1 {
			t.Errorf("%T: got %v", v, problems)
		}
	}
}

func TestProblemsErr(t *testing.T) {
	if err := Problems(nil).Err(); err != nil {
		t.Errorf("no problems: got %v", err)
	}
	ps := Problems{{Pos{"b", 1, 1}, "x"}, {Pos{"a", 2, 1}, "y"}, {Pos{"a", 1, 2}, "z"}, {Pos{File: "a"}, "whole"}}
	want := "a: whole\na:1:2: z\na:2:1: y\nb:1:1: x"
	if diff := cmp.Diff(want, ps.Err().Error()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTextAt(t *testing.T) {
	tests := map[string]struct {
		in, word string
		want     Pos
	}{
		"plain":           {"expr: aa bb cc", "cc", Pos{"f", 1, 13}},
		"single quotes":   {"expr: 'aa bb cc'", "cc", Pos{"f", 1, 14}},
		"single escaped":  {"expr: 'a '''' cc'", "cc", Pos{"f", 1, 15}},
		"double quotes":   {`expr: "aa \"x\" cc"`, "cc", Pos{"f", 1, 17}},
		"double escaped":  {`expr: "a\u0061 cc"`, "cc", Pos{"f", 1, 7}},
		"not ASCII":       {"expr: 'é ü cc'", "cc", Pos{"f", 1, 12}},
		"plain lines":     {"expr: aa\n  bb\n  cc", "cc", Pos{"f", 3, 3}},
		"literal":         {"expr: |\n  aa\n  bb cc\n", "cc", Pos{"f", 3, 6}},
		"literal indent":  {"expr: |-\n\n    aa\n      bb\n    cc\n", "cc", Pos{"f", 5, 5}},
		"literal comment": {"expr: | # cc\n  aa\n  cc\n", "cc", Pos{"f", 3, 3}},
		"folded":          {"name: x\nexpr: >-\n  aa\n  bb\n\n  cc\n", "cc", Pos{"f", 6, 3}},
		"CRLF":            {"name: x\r\nexpr: |\r\n  aa\r\n  cc\r\n", "cc", Pos{"f", 4, 3}},
		"CR":              {"name: x\rexpr: |\r  aa\r  cc\r", "cc", Pos{"f", 4, 3}},
		"flow":            {"{name: x, expr: aa cc}", "cc", Pos{"f", 1, 20}},
		"start":           {"expr:   aa", "aa", Pos{"f", 1, 9}},
		"anchor":          {"expr: &a aa cc", "cc", Pos{"f", 1, 7}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got config
			if problems := Decode("f", []byte(test.in), &got); len(problems) > 0 {
				t.Fatal(problems)
			}
			if at := got.Expr.At(strings.Index(got.Expr.Value, test.word)); at != test.want {
				t.Errorf("%q in %q: got %v, want %v", test.word, got.Expr.Value, at, test.want)
			}
		})
	}
}

func TestTextAtOutside(t *testing.T) {
	var got config
	if problems := Decode("f", []byte("expr: abc"), &got); len(problems) > 0 {
		t.Fatal(problems)
	}
	for offset, want := range map[int]Pos{-1: {"f", 1, 7}, 3: {"f", 1, 10}, 4: {"f", 1, 7}} {
		if at := got.Expr.At(offset); at != want {
			t.Errorf("At(%d): got %v, want %v", offset, at, want)
		}
	}
	if at := (Text{Value: "abc"}).At(1); at != (Pos{}) {
		t.Errorf("without a file: got %v", at)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"scopes", "any_scopes", "match", "subject", "when"}
	for word, want := range map[string]string{
		"scope": "scopes", "Scopes": "scopes", "anyscopes": "any_scopes", "macth": "match", "sub": "subject",
		"wen": "when", "x": "", "": "", "completely": "", strings.Repeat("scopes", 1000): "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q): got %q, want %q", word, got, want)
		}
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "x.yaml")
	if err := os.WriteFile(name, []byte("name: x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, problems := ReadFile(name); problems != nil || string(data) != "name: x" {
		t.Errorf("got %q and %v", data, problems)
	}
	missing := filepath.Join(dir, "missing")
	for name, want := range map[string]string{missing: missing + ": cannot be read: no such file or directory", dir: dir + ": cannot be read: is a directory"} {
		if _, problems := ReadFile(name); problems.Err() == nil || problems.Error() != want {
			t.Errorf("got %v, want %s", problems, want)
		}
	}
	if err := os.Truncate(name, 100<<20); err != nil {
		t.Fatal(err)
	}
	data, _ := ReadFile(name)
	var got config
	if problems := Decode("x", data, &got); len(problems) != 1 || !strings.Contains(problems.Error(), "too large") {
		t.Errorf("got %v", problems)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"name: x\ntags: [a, b]\n", "expr: |\n  a\n  b\n", "any: {a: [1, null]}\n", "a: &a [*a]\n", "expr: 'a''b'\n",
		"expr: >-\n  a\n\n  b\n", "expr: \"\\u00e9 \\\n  x\"\n", "\uFEFFname: x\r\n", "<<: {name: x}\n", "? [a]\n: b\n",
		"name: !!binary aGk=\n", "%YAML 1.2\n---\nname: x\n", "count: 1e400\n", "wheres:\n- a\n-\tb\n", "blocks: {value: 1}\n",
		"expr: a\u2028b\n", "name: x\n...\n---\n", "!%0DD",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		var got config
		problems := Decode("f", data, &got)
		for _, p := range problems {
			if p.File != "f" || strings.ContainsAny(p.Message, "\n\r") || p.Message == "" || (p.Line > 0) != (p.Column > 0) {
				t.Errorf("problem without a good place or message: %q", p)
			}
		}
		for i := range len(got.Expr.Value) + 1 {
			if i > 1000 {
				break
			}
			if at := got.Expr.At(i); at.Line < got.Expr.Pos.Line {
				t.Errorf("At(%d) of %q: %v is before %v", i, got.Expr.Value, at, got.Expr.Pos)
			}
		}
	})
}

// TestParseJSON: JSON is taken as it is allowed to be written, and keeps its places.
func TestParseJSON(t *testing.T) {
	root, err := Parse("f", []byte("{\n\t\"a\":\t\"\\ud83d\\ude00 \\\\ud83d \\/ \\\\\\ud83d\\ude00\",\n\t\"b\": [1]\n}\n"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := root.Content[1].Value, `😀 \ud83d / \😀`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if b := root.Content[2]; b.Value != "b" || b.Line != 3 || b.Column != 2 {
		t.Errorf("got %q at %d:%d", b.Value, b.Line, b.Column)
	}
	for text, want := range map[string]string{
		`{"a": 1, "b": {"c": 1, "c": 2}}`:             `f:1:24: key "c" is already defined at line 1`,
		`{"a": "` + strings.Repeat("x", 1<<20) + `"}`: "f: the file is too large: the limit is 1 MiB",
	} {
		if _, err := Parse("f", []byte(text), 1<<20); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

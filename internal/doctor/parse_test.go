package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseSaysWhatElseItIs(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"empty", " \n", "it is empty"},
		{"comments", "# nothing\n", "it is empty"},
		{"no text", "admin: \x00", "it is not text"},
		{"not UTF-8", "admin: \xff", "it is not text"},
		{"a list", "- admin", notEnvoy},
		{"a scalar", "42", notEnvoy},
		{"null", "null", notEnvoy},
		{"JSON of another kind", `{"status": "ok"}`, notEnvoy},
		{"configs of another kind", `{"configs": [{"@type": "x"}, 1]}`, notEnvoy},
		{"a manifest", "apiVersion: v1\nkind: ConfigMap", "Kubernetes manifest (kind ConfigMap)"},
		{"broken", "admin:\n\t- x", "it is neither JSON nor YAML: line 2"},
		{"deep", strings.Repeat("[", 500) + strings.Repeat("]", 499), "it is neither JSON nor YAML"},
		{"two documents", "admin: {}\n---\nadmin: {}\n", "a second document starts in line 2"},
		{"an alias of itself", "admin: &a [*a]", "its aliases make it too large"},
		{"aliases of aliases", bomb(), "its aliases make it too large"},
		{"large YAML", "admin: " + strings.Repeat("x", maxYAML), "too large for YAML: the limit is 4 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if config, err := Parse([]byte(c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v, want %q", config, err, c.want)
			}
		})
	}
}

// bomb is YAML of a few lines whose aliases stand for 10^9 nodes.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	names := "0123456789"
	for i := 1; i < 9; i++ {
		before := "*a" + names[i-1:i]
		b.WriteString("a" + names[i:i+1] + ": &a" + names[i:i+1] + " [" + strings.Join([]string{before, before, before, before, before, before, before, before, before, before}, ",") + "]\n")
	}
	return b.String()
}

func TestParseReads(t *testing.T) {
	for _, data := range []string{"admin: {}", "\uFEFFadmin: {}", `{"admin": {}}`, "{admin: {}, other: [1, 0x2, .5, yes, null, ~, 2001-01-01, !!binary eA==]}", "staticResources: {}\nadmin: &x {a: *x}"} {
		if _, err := Parse([]byte(data)); (err == nil) == strings.Contains(data, "*x") {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestNode(t *testing.T) {
	root, document, err := parse([]byte(`
a_b: {cD: [0, {e.f: "1.5s"}]}
yes: [yes, True, on, y, true, no, 1, "x"]
numbers: [1, "2", 3.5, x]
wrapped: [{value: true}, {value: "2"}, {seconds: 1, nanos: 5e8}]
!ignore any: {"@type": x}
any: {"@type": y}
any: {"@type": type.googleapis.com/xds.type.v3.TypedStruct, type_url: host/a.B, value: {c: 1}}
`))
	if err != nil {
		t.Fatal(err)
	}
	e := root.get("a_b", "c_d").items()[1].entries()
	for _, n := range e {
		if d, ok := n.duration(); n.path() != `a_b.cD[1]["e.f"]` || d != 1500*time.Millisecond || !ok {
			t.Error(n.path(), d, ok)
		}
		if line, column := locate(document, n); line != 2 || column != 16 {
			t.Error(line, column)
		}
	}
	missing := root.get("a_b", "x_y", "z")
	if line, column := locate(document, missing); missing.exists() || missing.path() != "a_b.x_y.z" || line != 2 || column != 1 {
		t.Error(missing.path(), line, column)
	}
	for i, n := range root.get("yes").items() {
		if n.yes() != (i < 5) {
			t.Error(i, n.value)
		}
	}
	wrapped := root.get("wrapped").items()
	two, _ := wrapped[1].number()
	if d, ok := wrapped[2].duration(); !wrapped[0].yes() || two != 2 || d != 1500*time.Millisecond || !ok {
		t.Error(wrapped[0].yes(), two, d)
	}
	if line, _ := locate(document, root.get("any")); line != 8 {
		t.Error(line)
	}
	sum := 0.0
	for _, n := range root.get("numbers").items() {
		f, _ := n.number()
		sum += f
	}
	if message, fields := root.get("any").typed(); sum != 6.5 || message != "a.B" || !fields.get("c").exists() {
		t.Error(sum, message, fields)
	}
}

func FuzzExamine(f *testing.F) {
	files, err := filepath.Glob("../../envoy/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"configs":[{"@type":"x/envoy.admin.v3.BootstrapConfigDump"},{"@type":"x/envoy.admin.v3.ListenersConfigDump","dynamic_listeners":[{}]},{"@type":"x/envoy.admin.v3.ClustersConfigDump"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := Parse(data)
		if err != nil {
			return
		}
		report, err := config.Examine(Options{Headers: []string{"x-user"}, TrustedHops: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range report.Findings {
			if found.Name == "" || found.Where == "" || found.Why == "" || found.Fix == "" {
				t.Errorf("%+v", found)
			}
		}
	})
}

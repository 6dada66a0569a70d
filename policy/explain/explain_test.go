package explain_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"scopeward/policy"
	"scopeward/policy/explain"
)

var update = flag.Bool("update", false, "write the golden files anew")

// ask reads `METHOD TARGET [key=value]...`: policy, token, scopes (by commas), sub,
// and h.NAME for a header.
func ask(t *testing.T, line string) explain.Question {
	t.Helper()
	fields := strings.Fields(line)
	host, target, ok := policy.SplitURL(fields[1])
	if !ok {
		t.Fatalf("no target in %q", line)
	}
	q := explain.Question{Method: fields[0], Host: host, Target: target, Headers: map[string]string{}}
	claims := map[string]any{}
	for _, field := range fields[2:] {
		key, value, _ := strings.Cut(field, "=")
		header, isHeader := strings.CutPrefix(key, "h.")
		switch {
		case isHeader:
			q.Headers[header] = value
		case key == "policy":
			q.Policy = value
		case key == "token":
			q.Token = policy.Token(value)
		case key == "scopes":
			q.Token = policy.TokenValid
			claims["scope"] = strings.ReplaceAll(value, ",", " ")
		default:
			q.Token = policy.TokenValid
			claims[key] = value
		}
	}
	if q.Token == policy.TokenValid {
		var err error
		if q.Identity, err = policy.NewIdentity(nil, claims); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

// TestExplanations holds what is said against golden files; -update writes them.
func TestExplanations(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no test: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var files []policy.File
			for _, f := range archive.Files {
				if strings.HasSuffix(f.Name, ".yaml") {
					files = append(files, policy.File{Name: f.Name, Data: f.Data})
				}
			}
			set, err := policy.Parse(files...)
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range archive.Files {
				if strings.HasSuffix(f.Name, ".yaml") {
					continue
				}
				e, out := explain.Explain(set, ask(t, f.Name))
				if e.Code != out.Code {
					t.Errorf("%s: explained %s, decided %s", f.Name, e.Code, out.Code)
				}
				if diff := cmp.Diff(string(f.Data), e.String()); diff != "" && !*update {
					t.Errorf("%s (-want +got):\n%s", f.Name, diff)
				}
				archive.Files[i].Data = []byte(e.String())
			}
			if *update {
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"scopeward/internal/config"
	"scopeward/internal/testenv/pki"
)

// documents returns every page that a reader is led to, by its path from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "policy/*.md", "envoy/compose/observe/*.md"} {
		found, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			pages[strings.TrimPrefix(filepath.ToSlash(path), "../")] = string(text)
		}
	}
	return pages
}

// TestReadmeIsShort holds the README to what a newcomer reads.
func TestReadmeIsShort(t *testing.T) {
	readme := documents(t)["README.md"]
	if lines := strings.Count(readme, "\n"); lines > 200 || len(readme) > 14_000 {
		t.Errorf("the README has %d lines and %d bytes; it may have 200 and 14,000", lines, len(readme))
	}
}

// fenced is a YAML block whose first line names a file.
var fenced = regexp.MustCompile("(?ms)^```yaml\n# (policy|scopeward|envoy)\\.yaml[^\n]*\n(.*?)^```$")

// TestDocsFiles checks that the files that the pages show are what the product takes.
func TestDocsFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pages := documents(t)
	shown := map[string]int{}
	for _, m := range fenced.FindAllStringSubmatch(pages["README.md"], -1) {
		if m[1] == "policy" {
			write("policy.yaml", m[2])
			write("next.yaml", m[2])
		}
	}
	write("partner.secret", "secret")
	write("client.secret", "secret")
	ca := pki.NewCA(t, "corporation")
	serverPair(t, ca).Write(t, dir, "tls")
	pki.Write(t, filepath.Join(dir, "ca.crt"), ca.PEM)
	pki.Write(t, filepath.Join(dir, "corp-ca.crt"), ca.PEM)
	for page, text := range pages {
		if page == "policy/README.md" { // which a test of its own follows
			continue
		}
		for _, m := range fenced.FindAllStringSubmatch(text, -1) {
			shown[m[1]]++
			if m[1] != "scopeward" {
				continue
			}
			write("scopeward.yaml", strings.ReplaceAll(m[2], "/var/run/secrets/kubernetes.io/serviceaccount/", ""))
			out := run(t, "check", "--config", filepath.Join(dir, "scopeward.yaml"))
			if !strings.Contains(out, "4 rules") {
				t.Errorf("check of the configuration in %s says: %s", page, out)
			}
		}
	}
	if shown["policy"] < 1 || shown["scopeward"] < 2 || shown["envoy"] != 1 {
		t.Errorf("the pages show %v", shown)
	}
}

// TestReadmeBootstrap checks that the README's part of a bootstrap is in
// envoy/minimal.yaml, which other tests run.
func TestReadmeBootstrap(t *testing.T) {
	minimal, err := os.ReadFile("../envoy/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range fenced.FindAllStringSubmatch(documents(t)["README.md"], -1) {
		if m[1] == "envoy" && !strings.Contains(unindented(string(minimal)), unindented(m[2])) {
			t.Errorf("envoy/minimal.yaml has no such part:\n%s", m[2])
		}
	}
}

func unindented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimLeft(line, " "))
	}
	return b.String()
}

var (
	presetOf = regexp.MustCompile(`(?ms)^# scopeward\.yaml\nproviders:\n(  - name: \S+\n    preset: (\S+)\n(?:    .*?\n)*)policy:`)
	tableRow = regexp.MustCompile("(?m)^\\| \\[[^\\]]+\\]\\(([a-z0-9-]+)\\.md\\) \\| `([a-z0-9-]+)` \\| (\\S+) \\| (\\d+) \\| corpus `(\\w+)`")
)

// TestProviderPages checks that each preset has a page with a configuration of at most
// eight lines, a case in the corpus where a token passes and another is refused, and a
// row in the table that says so. TestDocsFiles checks the configurations.
func TestProviderPages(t *testing.T) {
	pages := documents(t)
	rows := map[string][]string{}
	for _, row := range tableRow.FindAllStringSubmatch(pages["docs/providers/README.md"], -1) {
		rows[row[2]] = row
	}
	for _, name := range config.Presets() {
		m := presetOf.FindStringSubmatch(pages["docs/providers/"+name+".md"])
		row := rows[name]
		if m == nil || m[2] != name || row == nil {
			t.Errorf("preset %s: its page shows %q, its row is %q", name, m, row)
			continue
		}
		if lines := strings.Count(m[1], "\n"); lines > 8 || row[1] != name || row[4] != strconv.Itoa(lines) {
			t.Errorf("preset %s: the page shows %d lines, its row is %q", name, lines, row[0])
		}
		fixture, err := os.ReadFile("testdata/corpus/" + row[5] + ".txtar")
		text := string(fixture)
		if err != nil || !strings.Contains(text, "preset: "+name+",") || !strings.Contains(text, "status: 200") || !strings.Contains(text, "status: 401") {
			t.Errorf("preset %s: the case %s does not show that a token passes and another is refused (%v)", name, row[5], err)
		}
	}
	if len(rows) != len(config.Presets()) {
		t.Errorf("%d rows for %d presets", len(rows), len(config.Presets()))
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	code    = regexp.MustCompile("(?ms)^```.*?^```$")
)

// TestDocsLinks checks that each link within the repository leads somewhere.
func TestDocsLinks(t *testing.T) {
	pages := documents(t)
	for page, text := range pages {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := page
			if target != "" {
				path = filepath.ToSlash(filepath.Join(filepath.Dir(page), target))
			}
			if _, err := os.Stat(filepath.Join("..", path)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, m[1])
				continue
			}
			if anchor != "" && strings.HasSuffix(path, ".md") && !slices.Contains(anchors(pages[path]), anchor) {
				t.Errorf("%s: %s has no heading %s", page, path, anchor)
			}
		}
	}
}

// anchors are the names that headings of a page have in links.
func anchors(page string) []string {
	var names []string
	for _, m := range heading.FindAllStringSubmatch(code.ReplaceAllString(page, ""), -1) {
		name := strings.ToLower(regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(m[1], ""))
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

var (
	invocation = regexp.MustCompile(`(?m)(?:^|[\x60(]|\$ |KINDE_AUDIENCE=\S+ |4318 )scopeward((?: [a-z-]+)+)?([^\x60\n#|]*)`)
	flag       = regexp.MustCompile(`(?:^|\s)(--[a-z-]+)`)
)

// TestDocsCommands checks that the commands and flags in the pages exist.
func TestDocsCommands(t *testing.T) {
	help := map[string]string{}
	known := map[string]bool{}
	for page, text := range documents(t) {
		if page == "CHANGELOG.md" {
			continue
		}
		for _, m := range invocation.FindAllStringSubmatch(text, -1) {
			words := strings.Fields(m[1])
			if len(words) == 0 {
				continue
			}
			name := words[0]
			if len(words) > 1 && (name == "policy" || name == "token" || name == "schema" || name == "apikey") {
				name += " " + words[1]
			}
			if _, ok := help[name]; !ok {
				help[name] = run(t, append(strings.Fields(name), "--help")...)
				known[name] = strings.Contains(help[name], "scopeward "+name)
			}
			if !known[name] {
				t.Errorf("%s: there is no command scopeward %s", page, name)
				continue
			}
			for _, f := range flag.FindAllStringSubmatch(m[2], -1) {
				if !strings.Contains(help[name], f[1]) {
					t.Errorf("%s: scopeward %s has no flag %s", page, name, f[1])
				}
			}
		}
	}
	if len(help) < 12 {
		t.Errorf("the pages name %d commands", len(help))
	}
}

var transportSocket = regexp.MustCompile("(?ms)^```yaml\n(transport_socket:\n.*?)^```$")

// documentedTLS is the transport socket that docs/tls.md shows, with its files in a
// folder.
func documentedTLS(t *testing.T, dir string) func(map[string]any) {
	t.Helper()
	m := transportSocket.FindStringSubmatch(documents(t)["docs/tls.md"])
	if m == nil {
		t.Fatal("docs/tls.md shows no transport socket")
	}
	text := strings.ReplaceAll(m[1], "filename: ", "filename: "+dir+"/")
	return func(cluster map[string]any) {
		if err := yaml.Unmarshal([]byte(text), &cluster); err != nil {
			t.Error(err)
		}
	}
}

// TestWorkflows: what GitHub reads has what GitHub asks for, and the workflows make targets that there are. make actionlint
// checks more.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	forms, err := filepath.Glob("../.github/ISSUE_TEMPLATE/*.yaml")
	if err != nil || len(forms) == 0 {
		t.Fatal(forms, err)
	}
	for _, file := range forms {
		var form struct {
			Name, Description string
			Labels            []string
			Body              []struct {
				Type, ID    string
				Attributes  struct{ Label, Value, Description, Render string }
				Validations struct{ Required bool }
			}
		}
		decode(t, file, &form)
		if form.Name == "" || form.Description == "" || len(form.Body) == 0 {
			t.Errorf("%s: it has no name, description or body", file)
		}
		for _, part := range form.Body {
			if (part.Type == "markdown") != (part.ID == "") || (part.Attributes.Label == "") == (part.Attributes.Value == "") {
				t.Errorf("%s: %+v", file, part)
			}
		}
	}
	makefile := readFile(t, "../Makefile")
	for _, file := range []string{"test", "release"} {
		text := string(readFile(t, "../.github/workflows/"+file+".yaml"))
		for _, m := range regexp.MustCompile(`(?:run: make|target:) ([a-z-]+)`).FindAllStringSubmatch(text, -1) {
			if !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s.yaml makes %s, which the Makefile does not have", file, m[1])
			}
		}
	}
}

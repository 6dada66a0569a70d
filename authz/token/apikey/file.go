package apikey

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"scopeward/authz/token"
	"scopeward/internal/strictyaml"
)

// Entry is one key of a file.
type Entry struct {
	ID      string         // the subject of requests with this key
	SHA256  string         // of the key, in hexadecimal
	Scopes  []string       // what it may do
	Claims  map[string]any // more of its identity, for conditions and headers
	Created time.Time      // zero: not written
	Expires time.Time      // zero: never

	line int // where it begins in the file
}

// file is a file of keys as it is written.
type file struct {
	Version strictyaml.Located[int]           `yaml:"version,required"`
	Keys    []strictyaml.Located[entryOfFile] `yaml:"keys"`
}

type entryOfFile struct {
	ID      strictyaml.Located[string]         `yaml:"id,required"`
	SHA256  strictyaml.Located[string]         `yaml:"sha256,required"`
	Scopes  []strictyaml.Located[string]       `yaml:"scopes"`
	Claims  strictyaml.Located[map[string]any] `yaml:"claims"`
	Created strictyaml.Located[string]         `yaml:"created"`
	Expires strictyaml.Located[string]         `yaml:"expires"`
}

// Parse reads a file of keys. The error is strictyaml.Problems. An expired key is no
// mistake: it is refused when it comes.
func Parse(name string, data []byte) ([]Entry, error) {
	var f file
	problems := strictyaml.Decode(name, data, &f)
	if len(problems) > 0 {
		return nil, problems
	}
	problem := func(pos strictyaml.Pos, format string, args ...any) {
		problems = append(problems, strictyaml.Problem{Pos: pos, Message: fmt.Sprintf(format, args...)})
	}
	if f.Version.Value != 1 {
		problem(f.Version.Pos, "version is %d; this program knows version 1", f.Version.Value)
	}
	ids, hashes := map[string]strictyaml.Pos{}, map[string]strictyaml.Pos{}
	var entries []Entry
	for _, k := range f.Keys {
		w := k.Value
		e := Entry{ID: w.ID.Value, SHA256: strings.ToLower(w.SHA256.Value), Claims: w.Claims.Value, line: k.Pos.Line}
		if reason := checkID(e.ID); reason != "" {
			problem(w.ID.Pos, "id %s", reason)
		}
		if first, taken := ids[e.ID]; taken {
			problem(w.ID.Pos, "the id %q is taken by the key at %s: each key needs its own", e.ID, first)
		}
		ids[e.ID] = w.ID.Pos
		if b, err := hex.DecodeString(e.SHA256); err != nil || len(b) != 32 {
			problem(w.SHA256.Pos, "sha256 is not 64 hexadecimal digits: make a key with scopeward apikey new, which writes it")
		} else if first, taken := hashes[e.SHA256]; taken {
			problem(w.SHA256.Pos, "this is the key at %s under another id", first)
		}
		hashes[e.SHA256] = w.SHA256.Pos
		for _, s := range w.Scopes {
			if !token.IsScope(s.Value) {
				problem(s.Pos, "%q is not a scope: a scope has no white space, quotes or backslashes (RFC 6749 section 3.3)", s.Value)
			}
			e.Scopes = append(e.Scopes, s.Value)
		}
		for _, name := range []string{"sub", "scope", "exp", "iss"} {
			if _, set := e.Claims[name]; set {
				problem(w.Claims.Pos, "claims can't have %s: id, scopes and expires say it", name)
			}
		}
		var err error
		if e.Claims != nil {
			if _, err = token.NewClaims(e.Claims); err != nil {
				problem(w.Claims.Pos, "claims can't be used: %v", err)
			}
		}
		if e.Created, err = date(w.Created.Value); err != nil {
			problem(w.Created.Pos, "created %v", err)
		}
		if e.Expires, err = date(w.Expires.Value); err != nil {
			problem(w.Expires.Pos, "expires %v", err)
		}
		entries = append(entries, e)
	}
	return entries, problems.Sorted().Err()
}

// checkID reports why an id can't be a subject: it becomes headers and log fields.
func checkID(id string) string {
	switch {
	case id == "":
		return "is empty"
	case strings.TrimSpace(id) != id:
		return "begins or ends with white space"
	case strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has characters that can't be printed"
	}
	return ""
}

// date reads a day, which ends at midnight UTC before it, or a moment.
func date(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("is %q: write a day (2027-02-28) or a moment (2027-02-28T12:00:00Z)", text)
}

// newFile is what a file of keys begins with.
const newFile = `# API keys of Scopeward: their hashes, not the keys.
# scopeward apikey new, list and revoke edit this file.
version: 1
keys: []
`

// Add returns the file's text with one more key. It keeps what is there, comments too.
func Add(name string, data []byte, e Entry) ([]byte, error) {
	if len(data) == 0 {
		data = []byte(newFile)
	}
	before, err := Parse(name, data)
	if err != nil {
		return nil, err
	}
	if reason := checkID(e.ID); reason != "" {
		return nil, fmt.Errorf("the id %s", reason)
	}
	for _, scope := range e.Scopes {
		if !token.IsScope(scope) {
			return nil, fmt.Errorf("%q is not a scope: a scope has no white space, quotes or backslashes (RFC 6749 section 3.3)", scope)
		}
	}
	if slices.ContainsFunc(before, func(b Entry) bool { return b.ID == e.ID }) {
		return nil, fmt.Errorf("%s has a key with the id %q already: choose another id, or revoke that key first", name, e.ID)
	}
	text := strings.TrimRight(string(data), "\n")
	if without, empty := strings.CutSuffix(text, "keys: []"); empty {
		text = without + "keys:"
	}
	added := []byte(text + "\n" + e.yaml())
	return added, sameBut(name, added, len(before)+1)
}

// Remove returns the file's text without a key.
func Remove(name string, data []byte, id string) ([]byte, error) {
	before, err := Parse(name, data)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(before, func(e Entry) bool { return e.ID == id })
	if i < 0 {
		var ids []string
		for _, e := range before {
			ids = append(ids, e.ID)
		}
		return nil, fmt.Errorf("%s has no key with the id %q; it has %s", name, id, strings.Join(ids, ", "))
	}
	lines := strings.SplitAfter(string(data), "\n")
	end := len(lines)
	if i+1 < len(before) {
		end = before[i+1].line - 1
	}
	lines = slices.Delete(lines, before[i].line-1, end)
	text := strings.Join(lines, "")
	if len(before) == 1 {
		text = strings.TrimRight(text, "\n") + " []\n"
	}
	return []byte(text), sameBut(name, []byte(text), len(before)-1)
}

// sameBut checks an edited text, since a person may have written the file otherwise than
// this program does.
func sameBut(name string, edited []byte, want int) error {
	after, err := Parse(name, edited)
	if err != nil || len(after) != want {
		return fmt.Errorf("%s can't be edited as it is written: let keys be its last key, with each entry on lines of its own", name)
	}
	return nil
}

// yaml writes the entry as an element of the file's list.
func (e Entry) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  - id: %q\n    sha256: %s\n", e.ID, e.SHA256)
	if len(e.Scopes) > 0 {
		quoted := make([]string, len(e.Scopes))
		for i, s := range e.Scopes {
			quoted[i] = fmt.Sprintf("%q", s)
		}
		fmt.Fprintf(&b, "    scopes: [%s]\n", strings.Join(quoted, ", "))
	}
	if !e.Created.IsZero() {
		fmt.Fprintf(&b, "    created: %q\n", e.Created.UTC().Format(time.RFC3339))
	}
	if !e.Expires.IsZero() {
		fmt.Fprintf(&b, "    expires: %q\n", e.Expires.UTC().Format(time.RFC3339))
	}
	return b.String()
}

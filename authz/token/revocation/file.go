// Package revocation reads and edits files of revoked tokens.
package revocation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"scopeward/authz/token"
	"scopeward/internal/strictyaml"
)

// maxBytes bounds a file as the reader of YAML counts: it has room for 100,000 entries
// with all their keys.
const maxBytes = 40 << 20

// file is a file of revoked tokens as it is written.
type file struct {
	Version strictyaml.Located[int]           `yaml:"version,required"`
	Revoked []strictyaml.Located[entryOfFile] `yaml:"revoked"`
}

type entryOfFile struct {
	Subject      *strictyaml.Located[string] `yaml:"subject"`
	JTI          *strictyaml.Located[string] `yaml:"jti"`
	Client       *strictyaml.Located[string] `yaml:"client"`
	Claim        *strictyaml.Located[string] `yaml:"claim"`
	Equals       *strictyaml.Located[string] `yaml:"equals"`
	IssuedBefore *strictyaml.Located[string] `yaml:"issued_before"`
	Until        *strictyaml.Located[string] `yaml:"until"`
	Provider     *strictyaml.Located[string] `yaml:"provider"`
}

// Parse reads a file. providers are the names that entries may have; nil takes any. An entry that has ended is no mistake.
func Parse(name string, data []byte, providers []string) ([]token.Revocation, strictyaml.Problems) {
	var f file
	r := reader{problems: strictyaml.DecodeUpTo(name, data, maxBytes, &f), providers: providers}
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	if f.Version.Value != 1 {
		r.problem(f.Version.Pos, "version is %d; this program knows version 1", f.Version.Value)
	}
	entries := make([]token.Revocation, len(f.Revoked))
	for i, l := range f.Revoked {
		entries[i] = r.entry(l.Value, l.Pos)
	}
	return entries, r.problems.Sorted()
}

type reader struct {
	problems  strictyaml.Problems
	providers []string
}

func (r *reader) problem(pos strictyaml.Pos, format string, args ...any) {
	r.problems = append(r.problems, strictyaml.Problem{Pos: pos, Message: fmt.Sprintf(format, args...)})
}

func (r *reader) entry(w entryOfFile, pos strictyaml.Pos) token.Revocation {
	e := token.Revocation{Place: pos.String()}
	kinds := 0
	for _, k := range []struct {
		name  string
		value *strictyaml.Located[string]
	}{{token.RevokedSubject, w.Subject}, {token.RevokedJTI, w.JTI}, {token.RevokedClient, w.Client}, {token.RevokedClaim, w.Claim}} {
		if k.value == nil {
			continue
		}
		kinds++
		e.Kind, e.Value = k.name, k.value.Value
		if e.Value == "" {
			r.problem(k.value.Pos, "%s is empty: no token has that", k.name)
		}
	}
	if kinds != 1 {
		r.problem(pos, "an entry has one of subject, jti, client and claim (with equals); this one has %d of them", kinds)
	}
	r.claim(&e, w, pos)
	e.IssuedBefore, e.Until = r.date("issued_before", w.IssuedBefore), r.date("until", w.Until)
	if w.Provider != nil {
		e.Provider = w.Provider.Value
		if r.providers != nil && !slices.Contains(r.providers, e.Provider) {
			r.problem(w.Provider.Pos, "no provider is called %q; there is %s", e.Provider, strings.Join(r.providers, ", "))
		}
	}
	return e
}

// claim reads what an entry by claim has besides.
func (r *reader) claim(e *token.Revocation, w entryOfFile, pos strictyaml.Pos) {
	switch {
	case w.Claim == nil && w.Equals != nil:
		r.problem(w.Equals.Pos, "equals says what the value of a claim is: name the claim, as in claim: sid")
	case w.Claim == nil:
	case w.Equals == nil:
		r.problem(pos, "claim needs equals: the value of the claim whose tokens are revoked")
	case checkClaim(w.Claim.Value) != nil:
		r.problem(w.Claim.Pos, "%v", checkClaim(w.Claim.Value))
	default:
		e.Claim, e.Value = w.Claim.Value, w.Equals.Value
	}
}

// checkClaim refuses names that would be read in another way than their writer means.
func checkClaim(name string) error {
	switch {
	case name == "sub":
		return fmt.Errorf("write subject instead of the claim sub")
	case name == "jti":
		return fmt.Errorf("write jti: VALUE instead of claim: jti")
	case strings.HasPrefix(name, "/"):
		return fmt.Errorf("claim %q looks like a pointer into a claim: only a claim at the top of the token can be named", name)
	}
	return nil
}

func (r *reader) date(key string, l *strictyaml.Located[string]) time.Time {
	if l == nil {
		return time.Time{}
	}
	at, err := Moment(l.Value)
	if err != nil {
		r.problem(l.Pos, "%s %v", key, err)
	}
	return at
}

// Moment reads a day, which begins at midnight UTC, or a moment.
func Moment(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("is %q: write a day (2027-02-28) or a moment (2027-02-28T12:00:00Z)", text)
}

// newFile is what a file begins with.
const newFile = `# Tokens that Scopeward refuses although they have not expired.
# scopeward revoke adds entries; remove one to let its tokens pass again.
version: 1
revoked: []
`

// Add returns the file's text with one more entry. It keeps what is there, comments too.
// Place is not written.
func Add(name string, data []byte, e token.Revocation) ([]byte, error) {
	if _, problems := Parse("the entry", []byte("version: 1\nrevoked:\n"+yaml(e)), nil); len(problems) > 0 {
		return nil, errors.New(problems[0].Message)
	}
	if len(data) == 0 {
		data = []byte(newFile)
	}
	before, problems := Parse(name, data, nil)
	if len(problems) > 0 {
		return nil, problems
	}
	text := strings.TrimRight(string(data), "\n")
	if without, empty := strings.CutSuffix(text, "revoked: []"); empty {
		text = without + "revoked:"
	}
	added := []byte(text + "\n" + yaml(e))
	if after, problems := Parse(name, added, nil); len(problems) > 0 || len(after) != len(before)+1 {
		return nil, fmt.Errorf("%s can't be edited as it is written: let revoked be its last key, with each entry on lines of its own, indented by two spaces", name)
	}
	return added, nil
}

// yaml writes the entry as an element of the file's list.
func yaml(e token.Revocation) string {
	var b strings.Builder
	if e.Kind == token.RevokedClaim {
		fmt.Fprintf(&b, "  - claim: %q\n    equals: %q\n", e.Claim, e.Value)
	} else {
		fmt.Fprintf(&b, "  - %s: %q\n", e.Kind, e.Value)
	}
	if e.Provider != "" {
		fmt.Fprintf(&b, "    provider: %q\n", e.Provider)
	}
	if !e.IssuedBefore.IsZero() {
		fmt.Fprintf(&b, "    issued_before: %q\n", e.IssuedBefore.UTC().Format(time.RFC3339))
	}
	if !e.Until.IsZero() {
		fmt.Fprintf(&b, "    until: %q\n", e.Until.UTC().Format(time.RFC3339))
	}
	return b.String()
}

package apikey

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"scopeward/authz/token"
)

func TestGenerate(t *testing.T) {
	form := regexp.MustCompile(`^swk_[0-9A-Za-z]{33}$`)
	seen := map[string]bool{}
	for range 100 {
		key := Generate()
		if !form.MatchString(key) || !wellFormed(key) || seen[key] {
			t.Fatalf("a generated key is not good, or comes twice")
		}
		seen[key] = true
		// A mistyped character, two that are swapped, and one that is missing.
		other := byte('0')
		if key[10] == other {
			other = '1'
		}
		for _, mistyped := range []string{key[:10] + string(other) + key[11:], key[:len(key)-1], key + "0", strings.ToUpper(key)} {
			if wellFormed(mistyped) {
				t.Errorf("a mistyped key passes for a whole one")
			}
		}
	}
}

const good = `# a comment that stays
version: 1
keys:
  - id: ci
    sha256: "` + hashOfA + `"
    scopes: [write:deploy]
    claims: {team: ops, level: 3}
    expires: 2027-01-01
  # the second
  - id: probe
    sha256: ` + hashOfB + `
`

// The SHA-256 of "a" and "b".
const (
	hashOfA = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	hashOfB = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
)

func TestVerify(t *testing.T) {
	entries, err := Parse("keys.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)
	v, err := New("keys", "https://issuer.example", entries, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	id, err := v.Verify(t.Context(), token.Parse("a"))
	if err != nil {
		t.Fatal(err)
	}
	if id.Subject != "ci" || id.ScopeText() != "write:deploy" || id.Claims()["team"] != "ops" || id.Claims()["level"] != int64(3) || id.Provider != "keys" {
		t.Errorf("the identity is %+v", id)
	}
	if id, err := v.Verify(t.Context(), token.Parse("b")); err != nil || id.Subject != "probe" || len(id.Scopes) != 0 {
		t.Errorf("%v, %v", id, err)
	}
	now = now.Add(time.Second)
	key := Generate()
	for raw, reason := range map[string]string{
		"a":          "expired",
		"c":          "never made",
		hashOfA:      "never made",
		key:          "never made",
		key[:12]:     "checksum",
		Prefix:       "checksum",
		"swk_notone": "checksum",
	} {
		id, err := v.Verify(t.Context(), token.Parse(raw))
		invalid := (*token.InvalidError)(nil)
		if id != nil || !errors.As(err, &invalid) || !strings.Contains(err.Error(), reason) {
			t.Errorf("a refusal for %q: %v", reason, err)
		}
		if len(raw) > 3 && strings.Contains(err.Error(), raw) {
			t.Errorf("the error shows the key")
		}
	}
	if _, err := new(Verifier).Verify(t.Context(), token.Parse("a")); err == nil {
		t.Error("the zero verifier takes a key")
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "keys.yaml",
		"version: 2\nkeys: []":        "keys.yaml:1:10: version is 2",
		"version: 1\nkeys: [{id: a}]": "sha256",
		"version: 1\nkeys: [{id: a, sha256: xyz}]":                                                                "keys.yaml:2:24: sha256 is not 64",
		"version: 1\nkeys: [{id: '', sha256: " + hashOfA + "}]":                                                   "id is empty",
		"version: 1\nkeys: [{id: ' a', sha256: " + hashOfA + "}]":                                                 "white space",
		"version: 1\nkeys: [{id: \"a\\nb\", sha256: " + hashOfA + "}]":                                            "printed",
		"version: 1\nkeys: [{id: a, sha256: " + hashOfA + "}, {id: a, sha256: " + hashOfB + "}]":                  "taken by the key at keys.yaml:2:13",
		"version: 1\nkeys: [{id: a, sha256: " + hashOfA + "}, {id: b, sha256: " + strings.ToUpper(hashOfA) + "}]": "under another id",
		"version: 1\nkeys: [{id: a, sha256: " + hashOfA + ", scopes: ['a b']}]":                                   "is not a scope",
		"version: 1\nkeys: [{id: a, sha256: " + hashOfA + ", claims: {sub: x}}]":                                  "claims can't have sub",
		"version: 1\nkeys: [{id: a, sha256: " + hashOfA + ", expires: soon}]":                                     "expires is \"soon\"",
		"version: 1\nkeys: [{id: a, sha256: " + hashOfA + ", key: x}]":                                            "key",
	} {
		if _, err := Parse("keys.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestEdit(t *testing.T) {
	created := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	entry := func(id, hash string) Entry {
		return Entry{ID: id, SHA256: hash, Scopes: []string{"read:a"}, Created: created, Expires: created.AddDate(0, 3, 0)}
	}
	data, err := Add("keys.yaml", nil, entry("first", hashOfA))
	if err != nil {
		t.Fatal(err)
	}
	if data, err = Add("keys.yaml", data, entry("second", hashOfB)); err != nil {
		t.Fatal(err)
	}
	entries, err := Parse("keys.yaml", data)
	if err != nil || len(entries) != 2 || !entries[1].Expires.Equal(created.AddDate(0, 3, 0)) {
		t.Fatalf("%v, %v in\n%s", entries, err, data)
	}
	if _, err := Add("keys.yaml", data, entry("first", Hash("c"))); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("the id comes twice: %v", err)
	}
	if _, err := Remove("keys.yaml", data, "third"); err == nil || !strings.Contains(err.Error(), "first, second") {
		t.Errorf("a key that is not there: %v", err)
	}
	for _, id := range []string{"first", "second"} {
		if data, err = Remove("keys.yaml", data, id); err != nil {
			t.Fatal(err)
		}
	}
	if data, err = Add("keys.yaml", data, entry("again", hashOfA)); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}

	// What a person wrote stays.
	edited, err := Add("keys.yaml", []byte(good), entry("third", Hash("c")))
	if err != nil || !strings.HasPrefix(string(edited), strings.TrimRight(good, "\n")) {
		t.Errorf("%v in\n%s", err, edited)
	}
	edited, err = Remove("keys.yaml", []byte(good), "ci")
	if err != nil || !strings.Contains(string(edited), "a comment that stays") || strings.Contains(string(edited), "write:deploy") {
		t.Errorf("%v in\n%s", err, edited)
	}
	for _, unusual := range []string{
		"keys:\n  - {id: a, sha256: " + hashOfA + "}\nversion: 1\n",
		"{version: 1, keys: [{id: a, sha256: " + hashOfA + "}]}",
	} {
		if got, err := Add("keys.yaml", []byte(unusual), entry("b", hashOfB)); err == nil || !strings.Contains(err.Error(), "last key") {
			t.Errorf("%v in\n%s", err, got)
		}
	}
}

func FuzzKeysFile(f *testing.F) {
	f.Add(good)
	f.Add("version: 1\nkeys: []\n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := Parse("keys.yaml", []byte(text))
		if err != nil {
			return
		}
		v, err := New("keys", "", entries, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.keys) != len(entries) {
			t.Errorf("%d keys of %d entries", len(v.keys), len(entries))
		}
		if edited, err := Add("keys.yaml", []byte(text), Entry{ID: "a new id", SHA256: Hash("new")}); err == nil {
			after, err := Parse("keys.yaml", edited)
			if err != nil || len(after) != len(entries)+1 {
				t.Errorf("an edit breaks the file: %v", err)
			}
		}
	})
}

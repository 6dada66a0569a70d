package revocation

import (
	"strings"
	"testing"
	"time"

	"scopeward/authz/token"
)

func TestMistakes(t *testing.T) {
	for entry, want := range map[string]string{
		`{subject: a, jti: b}`:                "f:3:5: an entry has one of subject, jti, client and claim (with equals); this one has 2 of them",
		`{until: "2030-01-01"}`:               "this one has 0 of them",
		`{subject: ""}`:                       "f:3:15: subject is empty",
		`{claim: sid}`:                        "f:3:5: claim needs equals",
		`{subject: a, equals: b}`:             "f:3:26: equals says what the value of a claim is",
		`{claim: sub, equals: b}`:             "write subject instead",
		`{claim: jti, equals: b}`:             "write jti: VALUE",
		`{claim: /a/b, equals: b}`:            "only a claim at the top",
		`{subject: a, until: tomorrow}`:       `f:3:25: until is "tomorrow"`,
		`{subject: a, issued_before: 12}`:     "f:3:33: issued_before",
		`{subject: a, provider: other}`:       `f:3:28: no provider is called "other"; there is idp`,
		`{subjet: a}`:                         "did you mean",
		`{subject: 12}`:                       "f:3:15: subject",
		"{subject: a}\nversion: 1":            "version",
		"{subject: a}\n  - {client: b, x: 1}": "f:4:17",
	} {
		_, problems := Parse("f", []byte("version: 1\nrevoked:\n  - "+entry+"\n"), []string{"idp"})
		if len(problems) == 0 || !strings.Contains(problems.Error(), want) {
			t.Errorf("%s: got %v, want %q", entry, problems, want)
		}
	}
	if _, problems := Parse("f", []byte("version: 2\n"), nil); len(problems) != 1 {
		t.Errorf("version 2: %v", problems)
	}
}

func TestAdd(t *testing.T) {
	at := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	entries := []token.Revocation{
		{Kind: token.RevokedSubject, Value: `a "b": \ é` + "\x01", IssuedBefore: at},
		{Kind: token.RevokedClaim, Claim: "https://x/y", Value: "v", Until: at, Provider: "idp"},
		{Kind: token.RevokedJTI, Value: "j"}, {Kind: token.RevokedClient, Value: "c"},
	}
	var data []byte
	for _, e := range entries {
		var err error
		if data, err = Add("f", data, e); err != nil {
			t.Fatal(err)
		}
	}
	read, problems := Parse("f", data, nil)
	if len(problems) > 0 || len(read) != len(entries) {
		t.Fatalf("%v\n%s", problems, data)
	}
	for i := range read {
		if read[i].Place = ""; read[i] != entries[i] {
			t.Errorf("got %+v, want %+v", read[i], entries[i])
		}
	}
	for _, before := range []string{"version: 1\nrevoked: [{subject: a}]\n", "revoked:\n  - subject: a\nversion: 1\n", "version: 3\n", "nonsense"} {
		if after, err := Add("f", []byte(before), entries[2]); err == nil {
			t.Errorf("edited %q to %q", before, after)
		}
	}
	if _, err := Add("f", nil, token.Revocation{Kind: token.RevokedClaim, Claim: "sub", Value: "x"}); err == nil {
		t.Error("an entry that can't be read again was added")
	}
}

// TestManyEntries: a file has room for 100,000 entries with four keys each.
func TestManyEntries(t *testing.T) {
	const entry = "  - {subject: kp_1, provider: a, issued_before: 2026-12-01T00:00:00Z, until: 2036-12-01T00:00:00Z}\n"
	data := "version: 1\nrevoked:\n" + strings.Repeat(entry, 100_000)
	if entries, problems := Parse("revoked.yaml", []byte(data), nil); len(problems) > 0 || len(entries) != 100_000 {
		t.Errorf("%d entries: %v", len(entries), problems)
	}
}

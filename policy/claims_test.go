package policy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scopeward/policy"
)

// TestNumbersOfClaims: an id is equal to no other, and what worked with doubles works.
func TestNumbersOfClaims(t *testing.T) {
	claims := map[string]any{
		"uid": int64(1234567890123456789), "level": int64(3), "share": 2.5, "whole": 2.0, "huge": uint64(18446744073709551615),
		"big": json.Number("123456789012345678901234567890"), "ids": []any{int64(9007199254740993)}, "bigs": []any{json.Number("1e18"), int64(1)},
		"deep": map[string]any{"id": int64(9007199254740993), "big": json.Number("9007199254740993.0")},
	}
	for when, want := range map[string]string{
		`int(path.id) == identity.claims.uid`:                                             "allow",
		`int(path.id) - 1 == identity.claims.uid`:                                         "deny",
		`path.id == string(identity.claims.uid)`:                                          "allow",
		`identity.claims.level >= 2`:                                                      "allow",
		`identity.claims.level == 3.0`:                                                    "allow",
		`identity.claims.level < 2.5`:                                                     "deny",
		`identity.claims.level in [1, 3]`:                                                 "allow",
		`identity.claims.level in [1.0, 3.0]`:                                             "allow",
		`identity.claims.share > 2`:                                                       "allow",
		`identity.claims.whole == 2`:                                                      "allow",
		`identity.claims.huge == 18446744073709551615u`:                                   "allow",
		`identity.claims.huge == 18446744073709551614u`:                                   "deny",
		`identity.claims.huge > 5`:                                                        "allow",
		`9007199254740993 in identity.claims.ids`:                                         "allow",
		`9007199254740992 in identity.claims.ids`:                                         "deny",
		`identity.claims.deep.id == 9007199254740993`:                                     "allow",
		`identity.claims.big > 5`:                                                         "error",
		`identity.claims.big != 5`:                                                        "error",
		`!(5 in identity.claims.bigs)`:                                                    "error",
		`identity.claims.deep.big == 9007199254740992`:                                    "error",
		`identity.claims.level == 3 && has(identity.claims.big)`:                          "allow",
		`identity.claims.exists(name, name == "level" && identity.claims[name] == 3)`:     "allow",
		`{"a": identity.claims.uid}["a"] == 1234567890123456788`:                          "deny",
		`type(identity.claims.uid) == int && type(identity.claims.huge) == uint`:          "allow",
		`identity.claims.uid + 1 == 1234567890123456790 && identity.claims.uid % 10 == 9`: "allow",
	} {
		file := filepath.Join(t.TempDir(), "policy.yaml")
		if err := os.WriteFile(file, []byte("version: 1\nrules:\n  - match: /{id}\n    when: |\n      "+when+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		set, err := policy.Load(file)
		if err != nil {
			t.Errorf("%s: %v", when, err)
			continue
		}
		request, err := policy.NewRequest("GET", "example.com", "/1234567890123456789")
		if err != nil {
			t.Fatal(err)
		}
		match, err := set.Match("", &request)
		if err != nil {
			t.Fatal(err)
		}
		d := match.Decide(&policy.Identity{Subject: "alice", Claims: claims})
		got := "deny"
		switch {
		case d.Err != nil:
			got = "error"
		case d.Code == policy.Allowed:
			got = "allow"
		}
		if got != want || d.Err != nil && strings.Contains(d.Err.Error(), "123456") {
			t.Errorf("%s: %s (%v), want %s", when, got, d.Err, want)
		}
	}
}

package inspect

import (
	"os"
	"strings"
	"testing"
	"time"

	"scopeward/internal/config"
	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// TestInspectAgreesWithCorpus: inspect says of a token what the corpus shows that the
// server says, in each way of validation.
func TestInspectAgreesWithCorpus(t *testing.T) {
	verdicts := map[string]string{"invalid_token": Refused, "invalid_request": Refused, "insufficient_scope": Accepted, "unavailable": Unknown}
	seen := map[string]int{}
	shared := tokentest.New(t) // its keys are what takes time
	for _, c := range corpus.Load(t, os.DirFS("../../e2e/testdata/corpus")) {
		if c.Faults != nil {
			continue // they come and go within a case
		}
		idp := shared
		if c.Alg != "" { // the case changes the keys
			idp = tokentest.New(t)
		}
		for _, mode := range c.Modes {
			file := c.Setup(t, t.TempDir(), mode, idp)
			tokens := c.Mint(t, idp)
			i, err := New(Options{Options: config.Options{File: file}}, "")
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			for _, step := range c.Steps {
				raw, bearer := strings.CutPrefix(corpus.Read(t, c.Wire(t, step, tokens)).Headers["authorization"], "Bearer ")
				code, _ := step.Answer.Body["code"].(string)
				want, told := verdicts[code]
				if !bearer || !told {
					continue
				}
				found := i.Inspect(t.Context(), raw)
				if found.Bound != "" {
					continue // what must come besides the token, only the server sees
				}
				if found.Verdict != want {
					t.Errorf("%s/%s: %s: inspect says %s (%s), the server %s", c.Name, mode, step.Name, found.Verdict, found.Reason, code)
				}
				seen[want]++
			}
		}
	}
	if seen[Refused] < 10 || seen[Accepted] < 3 {
		t.Errorf("the corpus shows little: %v", seen)
	}
}

func TestRelative(t *testing.T) {
	for d, want := range map[time.Duration]string{
		12*time.Minute + 40*time.Second: "in 12 minutes", -time.Minute: "1 minute ago", 50 * time.Hour: "in 2 days", -time.Hour: "1 hour ago", 300 * time.Millisecond: "now", 0: "now",
	} {
		if got := relative(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

// TestQuoted: a claim steers no terminal.
func TestQuoted(t *testing.T) {
	for want, value := range map[string]any{
		`"a\x1b[2Jb"`: "a\x1b[2Jb", `"\u202ealice"`: "\u202ealice", "[a, 7, {b: true}]": []any{"a", 7.0, map[string]any{"b": true}}, "1700000000": 1.7e9, "0.5": 0.5, "(none)": nil, `""`: "",
	} {
		if got := quoted(value); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

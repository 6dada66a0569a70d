package audit

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestView(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	clock := at.Local().Format("15:04:05.000")
	for _, c := range []struct {
		name, line, want string
	}{
		{
			"allowed", `{"timestamp":"2026-01-02T03:04:05.006Z","action":"GET /users","rule":"p.yaml:1:1","success":true,"userId":"kp_1","scopes":["a","b"],"code":"allow","method":"GET","host":"api.acme.dev","path":"/users","provider":"keys","cache":"hit","durationMs":1.26}`,
			clock + `  ALLOWED  GET api.acme.dev/users  rule "GET /users"  kp_1  [a b]  keys (cache hit)  1.3 ms`,
		},
		{
			"denied", `{"timestamp":"2026-01-02T03:04:05.006Z","action":"GET /users","rule":"p.yaml:1:1","success":false,"code":"missing_token","method":"GET","path":"/users","reason":"no token"}`,
			clock + `  DENIED  missing_token  GET /users  rule "GET /users"  no token  0.0 ms`,
		},
		{
			"not enforced", `{"timestamp":"2026-01-02T03:04:05.006Z","action":"a","rule":"p.yaml:1:1","success":true,"code":"allow","method":"GET","path":"/","wouldBe":"access_denied","shadow":"missing_token"}`,
			clock + `  ALLOWED  would be access_denied  GET /  rule "a"  shadow: missing_token  0.0 ms`,
		},
		{
			"what clients write can't steer the terminal", `{"timestamp":"2026-01-02T03:04:05.006Z","code":"x","method":"G\nET","path":"/\u001b[2J\u0007\u009b","userId":"\u202e\r"}`,
			clock + `  DENIED  x  G\nET /\x1b[2J\a\u009b  no rule  \u202e\r  0.0 ms`,
		},
		{"not an event", "panic: \x1b[31m", `panic: \x1b[31m`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, View{}.Line([]byte(c.line))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			coloured := View{Colour: true}.Line([]byte(c.line))
			for _, sequence := range []string{"\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"} {
				coloured = strings.ReplaceAll(coloured, sequence, "")
			}
			if diff := cmp.Diff(c.want, coloured); diff != "" {
				t.Errorf("without its colours (-want +got):\n%s", diff)
			}
		})
	}
}

func TestViewIsColoured(t *testing.T) {
	for line, want := range map[string]string{
		`{"code":"allow","success":true}`:                           "\x1b[32mALLOWED\x1b[0m",
		`{"code":"allow","success":true,"wouldBe":"access_denied"}`: "\x1b[33mALLOWED\x1b[0m",
		`{"code":"metadata","success":true}`:                        "\x1b[32mANSWERED\x1b[0m  metadata",
		`{"code":"invalid_token"}`:                                  "\x1b[31mDENIED\x1b[0m",
	} {
		if got := (View{Colour: true}).Line([]byte(line)); !strings.Contains(got, want) {
			t.Errorf("%s is shown as %q", line, got)
		}
	}
}

func TestShow(t *testing.T) {
	event := `{"code":"allow","success":true,"path":"/`
	var out bytes.Buffer
	if err := (View{}).Show(&out, strings.NewReader(event+"1\"}\r\n"+event+"2\"}\n\nno event\n"+event+`3"}`)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 6 || !strings.Contains(lines[0], "/1  ") || !strings.Contains(lines[1], "/2  ") || lines[3] != "no event" || !strings.Contains(lines[4], "/3  ") {
		t.Errorf("%q", lines)
	}
	if err := (View{}).Show(&out, strings.NewReader(strings.Repeat("x", maxLine+1))); err == nil {
		t.Error("a line of more than 1 MiB is shown")
	}
	if err := (View{}).Show(&out, strings.NewReader("another log\n{}\n")); !errors.Is(err, ErrNoEvents) {
		t.Errorf("a log without an event: %v", err)
	}
	if err := (View{}).Show(&out, strings.NewReader("")); err != nil {
		t.Errorf("an empty log: %v", err)
	}
}

func TestWriter(t *testing.T) {
	var out bytes.Buffer
	lines := []byte("one\n\x1b\ntwo\n")
	if n, err := (View{}).Writer(&out).Write(lines); n != len(lines) || err != nil || out.String() != "one\n\\x1b\ntwo\n" {
		t.Errorf("%d, %v, %q", n, err, &out)
	}
	full := errors.New("no space left on device")
	if n, err := (View{}).Writer(failing{full}).Write(lines); n != 0 || !errors.Is(err, full) {
		t.Errorf("%d, %v", n, err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

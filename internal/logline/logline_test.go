package logline_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"scopeward/internal/logline"
)

const event = `{"action":"GET /x","code":"allow","path":"/\"log\":"}`

func quoted(t *testing.T, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestUnwrap(t *testing.T) {
	long := `{"action":"` + strings.Repeat("x", 40_000) + `"}`
	text := `[2026-11-30T23:00:00.123Z] "GET /x HTTP/1.1" 200 - 0 5 7 6 "-" "curl | x" "id" "api.example.com" "10.0.0.1:80"`
	tests := map[string]struct {
		lines, want []string
	}{
		"nothing around it":           {[]string{event, text, "hello", ""}, []string{event, text, "hello", ""}},
		"docker compose logs":         {[]string{"scopeward-1  | " + event, "envoy-1      | " + text}, []string{event, text}},
		"docker compose logs, colour": {[]string{"\x1b[36mscopeward-1  | \x1b[0m" + event, "\x1b[33menvoy-1  |\x1b[0m " + text}, []string{event, text}},
		"docker compose logs -t":      {[]string{"scopeward-1  | 2026-11-30T23:00:00.123456789Z " + event}, []string{event}},
		"kubectl logs --timestamps":   {[]string{"2026-11-30T23:00:00.123456789Z " + event, "2026-11-30T23:00:00.123456789+01:00 " + text}, []string{event, text}},
		"kubectl logs --prefix":       {[]string{"[pod/scopeward-7d9f8-abcde/scopeward] " + event, "[pod/envoy-0/envoy] 2026-11-30T23:00:00Z " + text}, []string{event, text}},
		"CRI":                         {[]string{"2026-11-30T23:00:00.123456789Z stdout F " + event, "2026-11-30T23:00:00.1Z stderr F " + text}, []string{event, text}},
		"CRI in parts": {[]string{
			"2026-11-30T23:00:00.1Z stdout P " + long[:16384], "2026-11-30T23:00:00.1Z stderr P hel", "2026-11-30T23:00:00.1Z stdout P " + long[16384:32768],
			"2026-11-30T23:00:00.1Z stderr F lo", "2026-11-30T23:00:00.1Z stdout F " + long[32768:], "2026-11-30T23:00:00.1Z stdout F " + event,
		}, []string{"hello", long, event}},
		"Docker's json-file": {[]string{
			`{"log":` + quoted(t, event+"\n") + `,"stream":"stdout","time":"2026-11-30T23:00:00.499185026Z"}`,
			`{"log":` + quoted(t, text+"\r\n") + `,"stream":"stderr","time":"2026-11-30T23:00:00.499185026Z"}`,
		}, []string{event, text}},
		"Docker's json-file in parts": {[]string{
			`{"log":` + quoted(t, long[:16384]) + `,"stream":"stdout","time":"2026-11-30T23:00:00Z"}`,
			`{"log":` + quoted(t, long[16384:32768]) + `,"stream":"stdout","time":"2026-11-30T23:00:00Z"}`,
			`{"log":` + quoted(t, long[32768:]+"\n") + `,"stream":"stdout","time":"2026-11-30T23:00:00Z"}`,
		}, []string{long}},
		"Fluent Bit": {[]string{
			`{"date":1764543600.123,"time":"2026-11-30T23:00:00.1Z","stream":"stdout","logtag":"F","log":` + quoted(t, event) + `,"kubernetes":{"pod_name":"x"}}`,
			`{"date":1764543600.123,"stream":"stdout","logtag":"F","message":` + quoted(t, event) + `}`,
			`{"date":1764543600.123,"log":"x","log_processed":` + event + `,"kubernetes":{}}`,
			`{"date":1764543600.123,"log":` + event + `}`,
			`{"date":1764543600.123,"log":` + quoted(t, "2026-11-30T23:00:00.1Z stdout F "+event) + `}`,
		}, []string{event, event, event, event, event}},
		"a field of that name":   {[]string{`{"method":"GET","path":"/x","message":"hello","log":"x"}`}, []string{`{"method":"GET","path":"/x","message":"hello","log":"x"}`}},
		"JSON that is none":      {[]string{`{"log":`, `{"log":5}`, `{"log":"a","log":"b"}`}, []string{`{"log":`, `{"log":5}`, `{"log":"a","log":"b"}`}},
		"an end that never came": {[]string{"2026-11-30T23:00:00.1Z stdout P hel"}, []string{"hel"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var u logline.Unwrapper
			var got []string
			for _, line := range test.lines {
				if content, complete := u.Unwrap([]byte(line)); complete {
					got = append(got, string(content))
				}
			}
			for _, rest := range u.Rest() {
				got = append(got, string(rest))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%.2000s", diff)
			}
		})
	}
}

// TestEndless: parts whose end never comes are held up to a limit.
func TestEndless(t *testing.T) {
	var u logline.Unwrapper
	part, total := []byte("2026-11-30T23:00:00.1Z stdout P "+strings.Repeat("x", 16384)), 0
	for range 1000 {
		content, complete := u.Unwrap(part)
		if total += len(content); complete && len(content) > 2<<20 {
			t.Fatalf("%d bytes were held", len(content))
		}
	}
	if total == 0 {
		t.Error("all parts are held")
	}
}

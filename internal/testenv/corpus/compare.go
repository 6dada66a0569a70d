package corpus

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// guidance are the headers that tell a client what to do.
var guidance = []string{"WWW-Authenticate", "DPoP-Nonce", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy"}

// Compare reports how an outcome differs from the answer.
func (a Answer) Compare(t testing.TB, got Outcome) {
	t.Helper()
	if got.Status != a.Status {
		t.Errorf("status %d, want %d; body %s", got.Status, a.Status, got.Body)
	}
	for name, want := range a.Headers {
		values := got.Headers.Values(name)
		if text := strings.Join(values, "\n"); len(values) != 1 || want != "*" && text != want {
			t.Errorf("header %s is %q, want %q", name, text, want)
		}
	}
	for _, name := range guidance {
		if _, wanted := lookup(a.Headers, name); !wanted && got.Headers.Get(name) != "" {
			t.Errorf("header %s is %q, want none", name, got.Headers.Get(name))
		}
	}
	if a.Body != nil {
		var body map[string]any
		if err := json.Unmarshal(got.Body, &body); err != nil {
			t.Errorf("the body %q is no JSON: %v", got.Body, err)
		} else if diff := cmp.Diff(a.Body, anyOf(a.Body, body)); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
		if kind := got.Headers.Get("Content-Type"); kind != "application/json" {
			t.Errorf("content type %q, want application/json", kind)
		}
		if caching := got.Headers.Get("Cache-Control"); !a.Direct && caching != "no-store" {
			t.Errorf("caches may keep a denial: Cache-Control is %q", caching)
		}
		if !a.Direct && !strings.HasPrefix(string(got.Body), `{"error":`) {
			t.Errorf("the body %s doesn't begin with its error", got.Body)
		}
	}
	if a.Text != nil && string(got.Body) != *a.Text {
		t.Errorf("the body is %q, want %q", got.Body, *a.Text)
	}
	a.compareUpstream(t, got)
}

// anyOf gives the body with what may be any as the answer has it.
func anyOf(want, body map[string]any) map[string]any {
	for name := range body {
		if want[name] == "*" {
			body[name] = "*"
		}
	}
	return body
}

func (a Answer) compareUpstream(t testing.TB, got Outcome) {
	t.Helper()
	if reached := got.Upstream != nil; reached != (a.Status == 200 && !a.Direct) {
		t.Errorf("reached the upstream: %v, but the status was to be %d", reached, a.Status)
	}
	for name, want := range a.Upstream {
		if text := strings.Join(got.Upstream.Values(name), "\n"); text != want && (want != "*" || text == "") {
			t.Errorf("the upstream sees %s %q, want %q", name, text, want)
		}
	}
}

// CompareMembers reports members of an object that are not as wanted.
func CompareMembers(t testing.TB, what string, want, got map[string]any) {
	t.Helper()
	for name, value := range want {
		if value == "*" {
			if _, ok := got[name]; !ok {
				t.Errorf("%s has no %s", what, name)
			}
			continue
		}
		if diff := cmp.Diff(value, got[name]); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", what, name, diff)
		}
	}
}

func lookup(headers map[string]string, name string) (string, bool) {
	for n, v := range headers {
		if strings.EqualFold(n, name) {
			return v, true
		}
	}
	return "", false
}

package replay

import (
	"strings"
	"testing"
)

// TestLogin: a log does not know how and when its users have signed in, so that a rule that
// asks may let them pass or not.
func TestLogin(t *testing.T) {
	const none, mfa, either, recent, older = "{match: /a, scopes: [s]}", "{match: /a, scopes: [s], acr: mfa}", "{match: /a, scopes: [s], acr: [mfa, hw]}",
		"{match: /a, scopes: [s], max_age: 1m}", "{match: /a, scopes: [s], max_age: 5m}"
	allowed, short := audit("allow", "GET", "/a", "kinde", "u", "s"), audit("insufficient_user_authentication", "GET", "/a", "kinde", "u", "s")
	const stranger = `{"method":"GET","path":"/a"}`
	for _, c := range []struct {
		old, next, line string
		change          Change
	}{
		{none, mfa, allowed, MayClose},
		{none, recent, allowed, MayClose},
		{mfa, none, short, MayOpen},
		{mfa, mfa, short, Same},
		{mfa, either, short, MayOpen},
		{recent, older, short, MayOpen},
		{recent, none, stranger, MayOpen},
		{none, recent, stranger, MayClose},
		{older, recent, stranger, MayClose},
		{recent, older, stranger, MayOpen},
		{either, mfa, stranger, MayClose},
		{mfa, either, stranger, MayOpen},
		{mfa, recent, stranger, MayOpen},
		{mfa, mfa, stranger, Same},
		{mfa, "{match: /a, scopes: [other], acr: mfa}", allowed, MayClose},
	} {
		r, err := Run(t.Context(), strings.NewReader(c.line+"\n"), parse(t, "version: 1\nrules:\n  - "+c.old+"\n"), parse(t, "version: 1\nrules:\n  - "+c.next+"\n"), Options{})
		if err != nil || r.Unreadable > 0 {
			t.Fatal(err, r)
		}
		got := Same
		if len(r.Groups) > 0 {
			got = r.Groups[0].Change
		}
		if got != c.change {
			t.Errorf("%s -> %s, %s: %q, want %q", c.old, c.next, c.line, got, c.change)
		}
	}
}

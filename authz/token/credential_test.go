package token_test

import (
	"errors"
	"strings"
	"testing"

	"scopeward/authz/token"
)

func TestFromAuthorization(t *testing.T) {
	long := strings.Repeat("a", token.DefaultMaxLength)
	for _, c := range []struct{ header, raw, fault string }{
		{"Bearer abc", "abc", ""},
		{"bearer abc", "abc", ""},
		{"BEARER abc", "abc", ""},
		{"Bearer   abc", "abc", ""},
		{" Bearer abc\t", "abc", ""},
		{"Bearer aZ09-._~+/==", "aZ09-._~+/==", ""},
		{"Bearer " + long, long, ""},

		{"", "", "missing"},
		{" \t ", "", "missing"},
		{"Basic dXNlcjpwYXNz", "", "missing"},
		{"Basic " + strings.Repeat("a", 100_000), "", "missing"},
		{"Bearer", "", "missing"},
		{"Bearer ", "", "missing"},
		{"Bearer    ", "", "missing"},
		{"Bearerabc", "", "missing"}, // a scheme of another name
		{"DPoP abc", "abc", ""},
		{"dpop  abc ", "abc", ""},
		{"DPoP", "", "missing"},
		{"DPoPabc", "", "missing"},

		{"Bearer\tabc", "", "malformed"},
		{"Bearer,Bearer", "", "malformed"},
		{"Bearer: abc", "", "malformed"},
		{"\"Bearer\" abc", "", "malformed"},
		{"Bearer a,Bearer b", "", "malformed"},
		{"Bearer a, Bearer b", "", "malformed"},
		{"DPoP a,Bearer a", "", "malformed"},
		{"Bearer a,DPoP a", "", "malformed"},
		{"Bearer a,", "", "malformed"},
		{"Bearer ,a", "", "malformed"},
		{"Bearer a b", "", "malformed"},
		{"Bearer a\tb", "", "malformed"},
		{"Bearer a=b", "", "malformed"},
		{"Bearer ==", "", "malformed"},
		{"Bearer a\x00", "", "malformed"},
		{"Bearer a\r\nX: y", "", "malformed"},
		{"Bearer a\x7f", "", "malformed"},
		{"Bearer ä", "", "malformed"},
		{"Bearer \u00a0abc", "", "malformed"},
		{"Bearer \xff", "", "malformed"},
		{"Bearer \"abc\"", "", "malformed"},
		{"Bearer a%2Eb", "", "malformed"},
		{"Bearer " + long + "a", "", "malformed"},
	} {
		raw, _, err := token.FromAuthorization(c.header, token.DefaultMaxLength)
		if got := credentialFault(err); raw != c.raw || got != c.fault {
			t.Errorf("%.40q: got %.40q, %q (%v); want %.40q, %q", c.header, raw, got, err, c.raw, c.fault)
		}
	}
}

func credentialFault(err error) string {
	var missing *token.MissingError
	var malformed *token.MalformedError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &missing):
		return "missing"
	case errors.As(err, &malformed):
		return "malformed"
	default:
		return "another error"
	}
}

func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{"", "Bearer", "Bearer abc", "bearer  abc==", "Bearer a,Bearer b", "Basic x", "Bearer a\x00b", "\tBearer ä"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		raw, _, err := token.FromAuthorization(header, token.DefaultMaxLength)
		if (raw == "") != (err != nil) {
			t.Fatalf("token %q with error %v", raw, err)
		}
		if err != nil {
			if f := credentialFault(err); f != "missing" && f != "malformed" {
				t.Fatalf("unexpected kind of error: %v", err)
			}
			return
		}
		if len(raw) > token.DefaultMaxLength || strings.ContainsFunc(raw, func(c rune) bool { return c <= ' ' || c > '~' || c == ',' }) {
			t.Fatalf("accepted %q", raw)
		}
		// Whoever reads the accepted token from a header of its own gets the same.
		if again, _, err := token.FromAuthorization("Bearer "+raw, token.DefaultMaxLength); again != raw || err != nil {
			t.Fatalf("read again: %q, %v", again, err)
		}
	})
}

// TestB64TokenCharacters: exactly those of RFC 6750 section 2.1.
func TestB64TokenCharacters(t *testing.T) {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
	for c := range 256 {
		raw := "a" + string([]byte{byte(c)}) + "b"
		_, _, err := token.FromAuthorization("Bearer "+raw, token.DefaultMaxLength)
		if want := strings.IndexByte(allowed, byte(c)) >= 0; (err == nil) != want {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

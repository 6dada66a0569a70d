package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func parseRule(t *testing.T, rule string) *Set {
	t.Helper()
	set, err := Parse(File{Name: "p.yaml", Data: []byte("version: 1\nrules:\n  - " + rule + "\n")})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestStepUp: a login counts if the token says in the types of OpenID Connect that it is
// one of those that the rule takes; whatever else there is denies.
func TestStepUp(t *testing.T) {
	now := time.Unix(1_800_000_000, 500_000_000)
	ago := func(d time.Duration) int64 { return now.Add(-d).Unix() }
	const both, mfa, recent = "{match: /a, acr: [urn:hw, urn:mfa], max_age: 5m}", "{match: /a, acr: urn:mfa}", "{match: /a, max_age: 5m}"
	for _, c := range []struct {
		name, rule string
		claims     map[string]any
		allowed    bool
	}{
		{"the one", mfa, map[string]any{"acr": "urn:mfa"}, true},
		{"one of several", both, map[string]any{"acr": "urn:mfa", "auth_time": ago(time.Minute)}, true},
		{"young enough", recent, map[string]any{"auth_time": ago(4 * time.Minute)}, true},
		{"at the edge", recent, map[string]any{"auth_time": ago(5*time.Minute) + 1}, true},
		{"a fraction", recent, map[string]any{"auth_time": float64(ago(time.Minute)) + 0.25}, true},
		{"the provider's clock is ahead", recent, map[string]any{"auth_time": ago(-59 * time.Second)}, true},
		{"optional", "{match: /a, optional: true, acr: urn:mfa}", map[string]any{"acr": "urn:mfa"}, true},

		{"no claims", both, nil, false},
		{"acr alone", both, map[string]any{"acr": "urn:mfa"}, false},
		{"auth_time alone", both, map[string]any{"auth_time": ago(time.Minute)}, false},
		{"old, and right otherwise", both, map[string]any{"acr": "urn:mfa", "auth_time": ago(6 * time.Minute)}, false},
		{"another acr", mfa, map[string]any{"acr": "urn:pwd"}, false},
		{"a longer acr", mfa, map[string]any{"acr": "urn:mfa2"}, false},
		{"a shorter acr", mfa, map[string]any{"acr": "urn:mf"}, false},
		{"acr in upper case", mfa, map[string]any{"acr": "URN:MFA"}, false},
		{"acr with space", mfa, map[string]any{"acr": "urn:mfa "}, false},
		{"both values in one", both, map[string]any{"acr": "urn:hw urn:mfa", "auth_time": ago(0)}, false},
		{"a list of acr", mfa, map[string]any{"acr": []any{"urn:mfa"}}, false},
		{"acr null", mfa, map[string]any{"acr": nil}, false},
		{"acr empty", mfa, map[string]any{"acr": ""}, false},
		{"acr a number", "{match: /a, acr: \"1\"}", map[string]any{"acr": int64(1)}, false},
		{"acr true", mfa, map[string]any{"acr": true}, false},
		{"acr in another claim", mfa, map[string]any{"amr": []any{"urn:mfa"}, "ACR": "urn:mfa", "acrs": "urn:mfa"}, false},
		{"a second too old", recent, map[string]any{"auth_time": ago(5 * time.Minute)}, false},
		{"a day old", recent, map[string]any{"auth_time": ago(24 * time.Hour)}, false},
		{"long ago", recent, map[string]any{"auth_time": int64(0)}, false},
		{"before the epoch", recent, map[string]any{"auth_time": ago(0) * -1}, false},
		{"in the future", recent, map[string]any{"auth_time": ago(-62 * time.Second)}, false},
		{"in milliseconds", recent, map[string]any{"auth_time": ago(0) * 1000}, false},
		{"beyond all clocks", recent, map[string]any{"auth_time": int64(1) << 62}, false},
		{"beyond int", recent, map[string]any{"auth_time": uint64(1) << 63}, false},
		{"not exact", recent, map[string]any{"auth_time": json.Number("1800000000e0000")}, false},
		{"huge", recent, map[string]any{"auth_time": 1e300}, false},
		{"negative huge", recent, map[string]any{"auth_time": -1e300}, false},
		{"text", recent, map[string]any{"auth_time": "1800000000"}, false},
		{"a date in text", recent, map[string]any{"auth_time": now.Format(time.RFC3339)}, false},
		{"null", recent, map[string]any{"auth_time": nil}, false},
		{"true", recent, map[string]any{"auth_time": true}, false},
		{"a list", recent, map[string]any{"auth_time": []any{ago(0)}}, false},
		{"an object", recent, map[string]any{"auth_time": map[string]any{"seconds": ago(0)}}, false},
		{"iat is no login", recent, map[string]any{"iat": ago(0), "updated_at": ago(0)}, false},
		{"optional, and not enough", "{match: /a, optional: true, acr: urn:mfa}", map[string]any{"acr": "urn:pwd"}, false},
		{"the condition holds", "{match: /a, acr: urn:mfa, when: 'true'}", map[string]any{}, false},
	} {
		r, err := NewRequest("GET", "", "/a")
		if err != nil {
			t.Fatal(err)
		}
		r.Time = now
		m, err := parseRule(t, c.rule).Match("", &r)
		if err != nil {
			t.Fatal(err)
		}
		want := InsufficientAuthentication
		if c.allowed {
			want = Allowed
		}
		if d := m.Decide(&Identity{Claims: c.claims}); d.Code != want || (d.Reason == "") != c.allowed {
			t.Errorf("%s: %+v", c.name, d)
		}
		if !m.Uses("identity.claims") {
			t.Errorf("%s: its claims are not asked for", c.name)
		}
		r.Time = time.Time{}
		if m.Rule().MaxAge > 0 && m.Decide(&Identity{Claims: c.claims}).Code == Allowed {
			t.Errorf("%s: allowed without a clock", c.name)
		}
	}
}

// TestStepUpOrder: scopes come first, conditions last.
func TestStepUpOrder(t *testing.T) {
	set := parseRule(t, "{match: /a, scopes: [s], acr: urn:mfa, when: identity.subject == 'u'}")
	r, _ := NewRequest("GET", "", "/a")
	m, _ := set.Match("", &r)
	mfa := map[string]any{"acr": "urn:mfa"}
	for _, c := range []struct {
		id   Identity
		want Code
	}{
		{Identity{}, InsufficientScope},
		{Identity{Claims: mfa, Subject: "u"}, InsufficientScope},
		{Identity{Scopes: []string{"s"}}, InsufficientAuthentication},
		{Identity{Scopes: []string{"s"}, Subject: "u"}, InsufficientAuthentication},
		{Identity{Scopes: []string{"s"}, Claims: mfa}, AccessDenied},
		{Identity{Scopes: []string{"s"}, Claims: mfa, Subject: "u"}, Allowed},
	} {
		if d := m.Decide(&c.id); d.Code != c.want {
			t.Errorf("%+v: %+v", c.id, d)
		}
	}
	if d := m.Decide(nil); d.Code != AccessDenied {
		t.Errorf("nobody: %+v", d)
	}
	partly, certain := m.DecidePartly(&Identity{Scopes: []string{"s"}, Claims: mfa, Subject: "u"}, func(v string) bool { return v != "identity.claims" })
	if certain || partly.Code == Allowed {
		t.Errorf("claims that are not known: %+v, %t", partly, certain)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second: "1s", 90 * time.Second: "1m30s", 5 * time.Minute: "5m", time.Hour: "1h", 90 * time.Minute: "1h30m", 24 * time.Hour: "24h", 10 * time.Second: "10s",
		time.Hour + 10*time.Minute: "1h10m", time.Hour + 5*time.Second: "1h0m5s",
	} {
		if got := age(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// TestStepUpProblems: what can't take effect is an error.
func TestStepUpProblems(t *testing.T) {
	for rule, want := range map[string]string{
		"{match: /a, public: true, acr: urn:mfa}":        "p.yaml:3:36: a rule with public cannot have acr",
		"{match: /a, deny: true, max_age: 5m}":           "p.yaml:3:38: a rule with deny cannot have max_age",
		"{match: /a, acr: []}":                           "p.yaml:3:22: acr is empty",
		"{match: /a, acr: ''}":                           `p.yaml:3:22: acr "" is no value`,
		"{match: /a, acr: 'a b'}":                        `p.yaml:3:22: acr "a b" is no value`,
		`{match: /a, acr: [a, 'x"y']}`:                   `p.yaml:3:26: acr "x\"y" is no value`,
		"{match: /a, acr: [a, a]}":                       `p.yaml:3:26: acr "a" is repeated`,
		"{match: /a, acr: 1}":                            "p.yaml:3:22: acr must be text",
		"{match: /a, max_age: 0s}":                       "p.yaml:3:26: max_age must be whole seconds",
		"{match: /a, max_age: -5m}":                      "p.yaml:3:26: max_age must be whole seconds",
		"{match: /a, max_age: 1500ms}":                   "p.yaml:3:26: max_age must be whole seconds",
		"{match: /a, max_age: 300}":                      "p.yaml:3:26: max_age must be a duration",
		"{match: /a, max_age: }":                         "p.yaml:3:",
		"{match: /a, max-age: 5m}":                       `unknown key "max-age"`,
		"{match: /a, acr_values: x}":                     `unknown key "acr_values"`,
		"{match: /a, scopes: [s], acr: x, public: true}": "cannot have",
	} {
		_, err := Parse(File{Name: "p.yaml", Data: []byte("version: 1\nrules:\n  - " + rule + "\n")})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

package policytest_test

import (
	"testing"

	"scopeward/policy"
	"scopeward/policy/policytest"
)

// TestLoggedIn: a test says how long ago its user has signed in.
func TestLoggedIn(t *testing.T) {
	set, err := policy.Parse(policy.File{Name: "policy.yaml", Data: []byte(`version: 1
rules:
  - {match: /a, acr: mfa, max_age: 5m}
tests:
  - {request: GET /a, claims: {acr: mfa}, logged_in: 5m, expect: allow}
  - {request: GET /a, claims: {acr: mfa}, logged_in: 5m1s, expect: insufficient_user_authentication}
  - {request: GET /a, claims: {acr: mfa}, logged_in: -2m, expect: insufficient_user_authentication}
  - {request: GET /a, claims: {acr: mfa}, expect: insufficient_user_authentication}
  - {request: GET /a, logged_in: 1m, expect: insufficient_user_authentication}
  - {request: GET /a, claims: {acr: mfa, auth_time: 1700000000}, expect: insufficient_user_authentication}
`)})
	if err != nil {
		t.Fatal(err)
	}
	report := policytest.Run(set, nil)
	if !report.OK(policytest.Options{FailUnder: 100}) || len(report.Results) != 6 {
		t.Errorf("%+v", report.Failed())
	}
	for _, test := range []string{
		"{request: GET /a, token: expired, logged_in: 5m, expect: invalid_token}",
		"{request: GET /a, claims: {auth_time: 1}, logged_in: 5m, expect: allow}",
		"{request: GET /a, logged_in: 1ms, expect: allow}",
	} {
		if _, err := policy.Parse(policy.File{Name: "p.yaml", Data: []byte("version: 1\nrules: [{match: /a}]\ntests:\n  - " + test + "\n")}); err == nil {
			t.Errorf("%s is taken", test)
		}
	}
}

package jwks_test

import (
	"errors"
	"testing"

	"scopeward/authz/token"
	"scopeward/authz/token/jwks"
	"scopeward/internal/testenv/tokentest"
)

// TestDiagnosisAgrees: the first check that fails is why the token is refused, for each
// token of an attacker's; none of a good one fails.
func TestDiagnosisAgrees(t *testing.T) {
	idp, evil := tokentest.New(t), tokentest.New(t)
	v := newVerifier(idp)
	validator := token.NewValidator(token.Options{Providers: []token.Provider{{Name: "idp", Issuer: idp.URL, Verifier: v}}, NegativeTTL: -1})
	tokens := idp.Hostile(evil)
	tokens["good"] = idp.Mint(nil, nil)
	tokens["expired, for another audience"] = idp.Mint(map[string]any{"exp": 1, "aud": "other"}, nil)
	// The keys have just been fetched for an unknown kid, for whoever comes first.
	_, _ = v.Verify(t.Context(), token.Parse(idp.Mint(nil, map[string]any{"kid": "unknown"})))
	for name, raw := range tokens {
		_, want := validator.Validate(t.Context(), raw, nil)
		d := validator.Diagnose(t.Context(), raw)
		if said(d.Err) != said(want) || said(firstFailed(d.Checks)) != said(want) || (d.Identity == nil) != (want != nil) {
			t.Errorf("%s: the server says %q, the diagnosis %q, its first failed check %q", name, said(want), said(d.Err), said(firstFailed(d.Checks)))
		}
		for _, c := range d.Checks {
			if c.Name == token.CheckValidation {
				t.Errorf("%s: no check of its own tells why: %v", name, c.Err)
			}
		}
		if (name == "good") != (want == nil) {
			t.Errorf("%s: %v", name, want)
		}
	}
	if evil.Requests(tokentest.KeysPath) > 0 {
		t.Error("the attacker's provider was asked")
	}
}

// TestDiagnosisTellsAll: what fails after the first.
func TestDiagnosisTellsAll(t *testing.T) {
	idp := tokentest.New(t)
	raw := idp.Mint(map[string]any{"exp": 1, "aud": "other", "scope": 7}, nil)
	raw = raw[:len(raw)-8] + "AAAAAAAA"
	validator := token.NewValidator(token.Options{Providers: []token.Provider{{Name: "idp", Issuer: idp.URL, Verifier: newVerifier(idp)}}})
	failed := map[string]bool{}
	for _, c := range validator.Diagnose(t.Context(), raw).Checks {
		failed[c.Name] = c.Err != nil
	}
	for _, name := range []string{token.CheckAudience, token.CheckExpiry, token.CheckScopes, token.CheckSignature} {
		if !failed[name] {
			t.Errorf("%s did not fail: %v", name, failed)
		}
	}
	for _, name := range []string{token.CheckForm, token.CheckProvider, token.CheckAlgorithm, token.CheckIssuer, token.CheckNames} {
		if bad, told := failed[name]; bad || !told {
			t.Errorf("%s: told %t, failed %t", name, told, bad)
		}
	}
}

// TestDiagnosisWithoutKeys: what the keys would say is not known; the rest is.
func TestDiagnosisWithoutKeys(t *testing.T) {
	idp := tokentest.New(t)
	v := newVerifier(idp)
	v.Keys = jwks.New(jwks.Options{File: "/no/such/file"})
	validator := token.NewValidator(token.Options{Providers: []token.Provider{{Name: "idp", Issuer: idp.URL, Verifier: v}}})
	var unavailable *token.UnavailableError
	if err := firstFailed(validator.Diagnose(t.Context(), idp.Mint(nil, nil)).Checks); !errors.As(err, &unavailable) {
		t.Errorf("got %v", err)
	}
	d := token.NewValidator(token.Options{Providers: []token.Provider{{Name: "idp", Issuer: idp.URL}}}).Diagnose(t.Context(), idp.Mint(nil, nil))
	if d.Err == nil || firstFailed(d.Checks) == nil {
		t.Errorf("without a verifier: %v, %v", d.Err, d.Checks)
	}
}

func firstFailed(checks []token.Check) error {
	for _, c := range checks {
		if c.Err != nil {
			return c.Err
		}
	}
	return nil
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

package config

import (
	"slices"
	"time"

	"scopeward/internal/strictyaml"
)

// Bounds of dpop.max_age.
const (
	defaultProofAge = time.Minute
	minProofAge     = 5 * time.Second
	maxProofAge     = 10 * time.Minute
)

// dpop resolves how proofs are checked.
func (d *document) dpop() DPoP {
	r := DPoP{MaxAge: defaultProofAge}
	if d.DPoP != nil {
		r.Nonce = valueOf(d.DPoP.Value.Nonce)
		if age := d.DPoP.Value.MaxAge; age != nil {
			r.MaxAge = age.Value
		}
	}
	r.Offer = r.Nonce || slices.ContainsFunc(d.Providers, func(p strictyaml.Located[providerSection]) bool { return p.Value.Binding.Value == "required" })
	return r
}

// bound refuses settings for bound tokens that can't take effect.
func (v *validator) bound(d *document) {
	bindable := slices.ContainsFunc(d.Providers, func(p strictyaml.Located[providerSection]) bool { return bindable(string(p.Value.Validation.Value)) })
	const none = "has no effect: no provider takes tokens that are bound to anything, neither by a profile nor as API keys; remove it"
	if d.DPoP != nil {
		if age := d.DPoP.Value.MaxAge; age != nil && (age.Value < minProofAge || age.Value > maxProofAge) {
			v.add(age.Pos, "dpop.max_age must lie between 5s and 10m")
		}
		switch {
		case !bindable:
			v.add(d.DPoP.Pos, "dpop "+none)
		case !d.bearer():
			v.add(d.DPoP.Pos, "dpop has no effect: credentials does not name bearer, and such tokens come only in Authorization; add it, or remove dpop")
		}
	}
	if trust := d.Listen.TrustXFCC; valueOf(trust) && !bindable {
		v.add(trust.Pos, "listen.trust_xfcc "+none)
	}
}

// binding refuses a provider whose tokens must be bound and can't be.
func (v *validator) binding(p providerSection) {
	v.oneOf("binding", p.Binding, bindings...)
	if p.Binding.Value == "required" && !bindable(string(p.Validation.Value)) {
		v.add(p.Binding.Pos, "provider %q: binding: required would refuse every token: validation: %s tells of none what it is bound to; use jwks or introspection, or remove it", p.Name.Value, p.Validation.Value)
	}
}

// bindable reports whether tokens that are validated so may be bound to something: a
// profile is not given for such, and API keys are not.
func bindable(validation string) bool {
	switch validation {
	case ValidateProfile, ValidateJWKSProfile, ValidateAPIKeys:
		return false
	}
	return true
}

// bearer reports whether credentials may be in Authorization.
func (d *document) bearer() bool {
	return d.Credentials == nil ||
		slices.ContainsFunc(d.Credentials.Value, func(c strictyaml.Located[credentialSection]) bool { return c.Value.text == "bearer" })
}

package config

import (
	"slices"
	"strings"

	"scopeward/internal/strictyaml"
)

// unusedSections finds sections of a provider that its validation does not look at: what
// they say would be ignored.
func (v *validator) unusedSections(p providerSection) {
	mode := string(p.Validation.Value)
	for _, key := range []struct {
		name    string
		useless bool
		written []located
	}{
		{"algorithms", !strings.HasPrefix(mode, ValidateJWKS), p.Algorithms},
		{"discovery", mode == ValidateLookup || mode == ValidateAPIKeys, []located{p.Discovery}},
		{"clients", mode == ValidateAPIKeys, p.Clients},
		{"subject_prefix", mode == ValidateAPIKeys, []located{p.SubjectPrefix}},
		{"tenants", mode == ValidateAPIKeys && len(p.Issuer) == 0, p.Tenants},
	} {
		if pos, ok := firstPlace(key.written); ok && key.useless && slices.Contains(validations, mode) {
			v.add(pos, "provider %q: %s has no effect with validation: %s; remove it", p.Name.Value, key.name, mode)
		}
	}
	keys := []string{ValidateJWKS, ValidateJWKSProfile, ValidateJWKSIntrospection}
	for _, section := range []struct {
		name    string
		used    []string // by these validations
		written []located
	}{
		{"jwks", keys, p.JWKS.written()},
		{"profile", []string{ValidateProfile, ValidateJWKSProfile}, []located{p.Profile.URL}},
		{"introspection", []string{ValidateIntrospection, ValidateJWKSIntrospection}, append(p.Introspection.clientSection.written(), p.Introspection.URL, p.Introspection.Auth)},
		{"lookup", []string{ValidateLookup}, p.Lookup.written()},
	} {
		if slices.Contains(section.used, string(p.Validation.Value)) {
			continue
		}
		if pos, ok := firstPlace(section.written); ok {
			v.add(pos, "provider %q: %s has no effect with validation: %s; remove it, or write another validation",
				p.Name.Value, section.name, p.Validation.Value)
		}
	}
}

// written are the settings, of which the places say whether somebody wrote them.
func (j jwksEndpoint) written() []located {
	times := []located{{Pos: j.Refresh.Pos}, {Pos: j.MaxStale.Pos}, {Pos: j.Token.Pos}}
	return slices.Concat([]located{j.File}, j.URL, j.Use, times)
}

// firstPlace is where the first of some settings is written, if any is.
func firstPlace(settings []located) (pos strictyaml.Pos, ok bool) {
	i := slices.IndexFunc(settings, func(s located) bool { return s.Pos.Line > 0 })
	if i < 0 {
		return pos, false
	}
	return settings[i].Pos, true
}

// unusedSettings finds settings beside others that switch them off.
func (d *document) unusedSettings(v *validator) {
	if d.RateLimit.Count.Value == "off" {
		if r := d.RateLimit.Max; r != nil && r.Pos.Line > 0 {
			v.add(r.Pos, "rate_limit.max has no effect with count: off; remove it")
		}
		if r := d.RateLimit.Window; r != nil && r.Pos.Line > 0 {
			v.add(r.Pos, "rate_limit.window has no effect with count: off; remove it")
		}
		if r := d.RateLimit.Redis; r.Pos.Line > 0 {
			v.add(r.Pos, "rate_limit.redis has no effect with count: off; remove it")
		}
	}
	if pos, ok := firstPlace(d.Admin.Hosts); ok && d.Listen.Admin != nil && d.Listen.Admin.Value == "" {
		v.add(pos, "admin.hosts has no effect while listen.admin is off; remove it")
	}
}

package config

import (
	"slices"
	"strings"

	"scopeward/authz/token"
	"scopeward/internal/strictyaml"
)

// byKeys reports whether a validation needs the provider's keys.
func byKeys(mode string) bool {
	return mode == ValidateJWKS || mode == ValidateJWKSProfile || mode == ValidateJWKSIntrospection
}

// first is the first of a list that may be empty.
func first(list []located) located {
	if len(list) == 0 {
		return located{}
	}
	return list[0]
}

// issuers are those of a provider that are sound.
func (p providerSection) issuers() (all []token.Issuer) {
	for _, l := range p.Issuer {
		if i, err := token.NewIssuer(string(l.Value), p.tenants()); err == nil {
			all = append(all, i)
		}
	}
	return all
}

// tenants are what a placeholder may stand for; nil are any.
func (p providerSection) tenants() []string {
	if len(p.Tenants) == 1 && p.Tenants[0].Value == "any" {
		return nil
	}
	return append([]string{}, stringsOf(p.Tenants)...)
}

// whose checks what says whose tokens a provider's are.
func (v *validator) whose(p providerSection, pos func(located) strictyaml.Pos) {
	name := p.Name.Value
	if len(p.Issuer) == 0 && p.SubjectPrefix.Value == "" && p.Validation.Value != ValidateAPIKeys || slices.ContainsFunc(p.Issuer, func(l located) bool { return l.Value == "" }) {
		v.add(pos(first(p.Issuer)), "provider %q has no issuer: it is the iss of its tokens, as in https://<subdomain>.kinde.com", name)
	}
	template := false
	for _, l := range p.Issuer {
		i, err := token.NewIssuer(string(l.Value), nil)
		if err != nil {
			v.add(pos(l), "provider %q: issuer %s: %v", name, l.Value, err)
		}
		template = template || i.IsTemplate()
	}
	switch {
	case template && len(p.Tenants) == 0:
		v.add(pos(first(p.Issuer)), "provider %q: the issuer has a placeholder: write tenants, the values that count, or tenants: any", name)
	case !template && len(p.Tenants) > 0:
		v.add(pos(p.Tenants[0]), "provider %q: tenants has no effect, since no issuer has a placeholder such as {tid}", name)
	case len(p.Tenants) > 1 && slices.ContainsFunc(p.Tenants, func(l located) bool { return l.Value == "any" }):
		v.add(pos(p.Tenants[0]), "provider %q: tenants is either any or a list of values", name)
	}
	if s := string(p.SubjectPrefix.Value); s != "" && !strings.HasSuffix(s, "/") && !strings.HasSuffix(s, ":") {
		v.add(pos(p.SubjectPrefix), "provider %q: subject_prefix must end in / or :, or it would take the subjects of others that begin alike", name)
	}
	for what, list := range map[string][]located{"clients": p.Clients, "prefixes": p.Prefixes, "tenants": p.Tenants} {
		for _, l := range list {
			if l.Value == "" {
				v.add(pos(l), "provider %q has an empty element in %s", name, what)
			}
		}
	}
	if p.Opaque != nil && p.Tokens.Pos.Line > 0 {
		v.add(p.Tokens.Pos, "provider %q has tokens and opaque, which is its older spelling: keep tokens", name)
		return
	}
	v.oneOf("tokens", p.Tokens, string(token.JWTs), string(token.Opaque), string(token.Any))
}

// distinct refuses providers of which a credential could go to either.
func (v *validator) distinct(ps []strictyaml.Located[providerSection]) {
	for i, a := range ps {
		for _, b := range ps[i+1:] {
			if what := clash(a.Value, b.Value); what != "" {
				v.add(b.Pos, "%s could go to provider %q or to %q (%s): tell them apart by tokens, prefixes, audiences or clients",
					what, b.Value.Name.Value, a.Value.Name.Value, a.Pos)
			}
		}
	}
}

// clash names a credential that two providers would take, if there is one.
func clash(a, b providerSection) string {
	if !overlap(stringsOf(a.Prefixes), stringsOf(b.Prefixes), func(x, y string) bool { return strings.HasPrefix(x, y) || strings.HasPrefix(y, x) }) ||
		(len(a.Prefixes) == 0) != (len(b.Prefixes) == 0) {
		return ""
	}
	takes := func(p providerSection, kind token.Kind) bool {
		return p.Tokens.Value == text(kind) || p.Tokens.Value == text(token.Any)
	}
	if takes(a, token.Opaque) && takes(b, token.Opaque) {
		return "a token that is no JWT"
	}
	same := func(x, y string) bool { return x == y }
	if takes(a, token.JWTs) && takes(b, token.JWTs) && meet(a, b) &&
		overlap(plain(a.Audiences), plain(b.Audiences), same) && overlap(stringsOf(a.Clients), stringsOf(b.Clients), same) {
		return "a JWT"
	}
	return ""
}

func meet(a, b providerSection) bool {
	return slices.ContainsFunc(a.issuers(), func(i token.Issuer) bool { return slices.ContainsFunc(b.issuers(), i.Meets) })
}

// overlap reports whether a value may be in both lists; an empty list is for any.
func overlap(a, b []string, same func(a, b string) bool) bool {
	if len(a) == 0 || len(b) == 0 {
		return true
	}
	return slices.ContainsFunc(a, func(x string) bool { return slices.ContainsFunc(b, func(y string) bool { return same(x, y) }) })
}

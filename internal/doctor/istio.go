package doctor

import "slices"

// coversAll reports whether ext_authz is on for all requests although it asks for
// metadata. That is how Istio does an AuthorizationPolicy with action CUSTOM: its
// rules are those of an RBAC filter in front, which only notes the one that
// a request meets, and ext_authz is on where one is noted.
func coversAll(m *manager, matcher *node) bool {
	path := matcher.get("path").items()
	if len(path) != 1 {
		return false
	}
	for _, f := range before(m, m.authz) {
		note := f.config.get("shadow_rules_stat_prefix").text() + "shadow_effective_policy_id"
		if f.message != rbac || path[0].get("key").text() != note {
			continue
		}
		for name, policy := range f.config.get("shadow_rules", "policies").entries() {
			if matches(matcher.get("value", "string_match"), name) && takesAny(policy.get("permissions").items()) && takesAny(policy.get("principals").items()) {
				return true
			}
		}
	}
	return false
}

// takesAny reports whether one of an RBAC policy's permissions, or principals, is
// for all requests.
func takesAny(rules []*node) bool {
	return slices.ContainsFunc(rules, func(r *node) bool {
		and := slices.Concat(r.get("and_rules", "rules").items(), r.get("and_ids", "ids").items())
		or := slices.Concat(r.get("or_rules", "rules").items(), r.get("or_ids", "ids").items())
		return r.get("any").yes() || takesAny(or) ||
			len(and) > 0 && !slices.ContainsFunc(and, func(r *node) bool { return !takesAny([]*node{r}) })
	})
}

package doctor

import (
	"fmt"
	"strings"
)

func conditionalAuthz(e *subject, report reporter) {
	e.eachAuthz(func(m *manager, f filter) {
		if f.partial != nil {
			report(f.partial, "A matcher decides which requests Scopeward is asked about, and without one it is about none: the others pass.", "put the ext_authz filter into http_filters itself, without a matcher")
		}
		if m == nil {
			return
		}
		for _, l := range m.leaves {
			for _, s := range l.perFilter(f.name) {
				if message, fields := s.typed(); message == matcherPerRoute && skips(fields) {
					report(s, "A matcher decides which of this route's requests Scopeward is asked about: the others pass.", "remove it")
				}
			}
		}
		if denies, _ := e.flag(f.config.get("deny_at_disable")); denies {
			return // whom it is not asked about is denied
		}
		const fix = "remove it, or deny the others: deny_at_disable: {runtime_key: scopeward.deny_at_disable, default_value: true}"
		if at, part := e.share(f.config.get("filter_enabled")); part < 1 {
			report(at, "Scopeward is asked about a share of the requests only: the others pass.", fix)
		}
		if at := f.config.get("filter_enabled_metadata"); at.exists() && !coversAll(m, at) {
			if at.get("filter").text() == "envoy.filters.http.rbac" { // Istio's
				report(at, "Scopeward is asked only about requests that a rule of the AuthorizationPolicy takes: the others pass.", "rules: [{}]    # in the AuthorizationPolicy with action: CUSTOM")
			} else {
				report(at, "Scopeward is asked only about requests with certain metadata: the others pass.", fix)
			}
		}
	})
}

// runtimeSwitch finds runtime keys that can switch Scopeward off, and whose value comes
// from where it can't be told.
func runtimeSwitch(e *subject, report reporter) {
	e.eachAuthz(func(m *manager, f filter) {
		if m == nil {
			return
		}
		say := func(setting, does string) {
			at := f.config.get(setting, "runtime_key")
			_, layers := e.runtime(at.text())
			if at.text() == "" || len(layers) == 0 {
				return
			}
			report(at, fmt.Sprintf("%s can %s, and what it is can't be told: %s may set it, at any time.", at.text(), does, strings.Join(layers, " and ")),
				fmt.Sprintf("remove %s; or set %s in a static_layer behind the others of layered_runtime", setting, at.text()))
		}
		denies, _ := e.flag(f.config.get("deny_at_disable"))
		if _, part := e.share(f.config.get("filter_enabled")); !denies && part == 1 {
			say("filter_enabled", "switch Scopeward off")
		}
		if _, part := e.share(f.config.get("filter_enabled")); denies && (part < 1 || f.config.get("filter_enabled_metadata").exists()) {
			say("deny_at_disable", "let requests pass that Scopeward is not asked about")
		}
	})
}

// share gives the share of requests that a RuntimeFractionalPercent stands for, by what
// is known of the runtime, and what says so. Without one it is all.
func (e *subject) share(percent *node) (at *node, part float64) {
	if !percent.exists() {
		return percent, 1
	}
	value, _ := e.runtime(percent.get("runtime_key").text())
	if value == nil {
		return percent, fraction(percent.get("default_value"))
	}
	if n, ok := value.number(); ok {
		return value, min(n/100, 1) // whatever the denominator of the default is
	}
	return value, fraction(value)
}

// fraction reads a FractionalPercent.
func fraction(percent *node) float64 {
	numerator, _ := percent.get("numerator").number()
	switch percent.get("denominator").enum("HUNDRED", "TEN_THOUSAND", "MILLION") {
	case "TEN_THOUSAND":
		return numerator / 10_000
	case "MILLION":
		return numerator / 1_000_000
	default:
		return numerator / 100
	}
}

// flag gives the value of a RuntimeFeatureFlag, and what says so.
func (e *subject) flag(feature *node) (on bool, at *node) {
	value, _ := e.runtime(feature.get("runtime_key").text())
	if value != nil {
		switch v := value.value.(type) {
		case bool:
			return v, value
		case string:
			return strings.EqualFold(v, "true"), value
		}
	}
	return feature.get("default_value").yes(), feature
}

// runtime gives what a key of Envoy's runtime is set to by static layers, nil if it is
// not, and in words which layers after that may set it otherwise.
func (e *subject) runtime(key string) (value *node, unknown []string) {
	const admin = "whoever reaches the admin interface"
	if key == "" {
		return nil, nil
	}
	layers := e.bootstrap.get("layered_runtime", "layers").items()
	if len(layers) == 0 {
		return nil, []string{admin} // Envoy's default is one admin layer
	}
	for _, layer := range layers {
		if v := runtimeValue(layer.get("static_layer"), key); v != nil {
			value, unknown = v, nil
		}
		for kind, who := range map[string]string{"admin_layer": admin, "disk_layer": "whoever writes to the folder of its disk layer", "rtds_layer": "the control plane of its RTDS layer"} {
			if layer.get(kind).exists() {
				unknown = append(unknown, who)
			}
		}
	}
	return value, unknown
}

// runtimeValue gives the value of a key in a static layer, where parts of the key may
// be keys of their own.
func runtimeValue(layer *node, key string) *node {
	for k, v := range layer.entries() {
		if k == key {
			return v
		}
		if rest, ok := strings.CutPrefix(key, k+"."); ok {
			if found := runtimeValue(v, rest); found != nil {
				return found
			}
		}
	}
	return nil
}

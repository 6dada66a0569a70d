package doctor

// opaqueFilter finds filters whose code is not in the configuration, and that may change
// requests.
func opaqueFilter(e *subject, report reporter) {
	e.eachAsking(func(m *manager) {
		asked := false
		for _, f := range m.filters {
			asked = asked || f.at == m.authz[0].at
			if !opaque(m, f) {
				continue
			}
			if asked {
				report(f.at, "What this filter does is not in the configuration: if it changes path, host or identity headers, it does so after Scopeward's decision.", "look at its code; then say so in the metadata of the listener")
			} else {
				report(f.at, "What this filter does is not in the configuration: if it puts a token into requests, everybody is taken for Envoy; if it changes path or host, Scopeward decides about another request.", "look at its code, or put it behind ext_authz; then say so in the metadata of the listener")
			}
		}
		for _, f := range e.upstream(m) {
			if opaque(m, f) {
				report(f.at, "What this filter does is not in the configuration: if it changes path, host or identity headers, it does so after Scopeward's decision.", "look at its code; then say so in the metadata of the cluster")
			}
		}
		for _, extension := range m.config.get("early_header_mutation_extensions").items() {
			if message, _ := extension.get("typed_config").typed(); message == "envoy.extensions.http.early_header_mutation.dynamic_modules.v3.DynamicModuleEarlyHeaderMutation" {
				report(extension, "What this extension does to headers is not in the configuration: if it puts a token into requests, everybody is taken for Envoy.", "look at its code; then say so in the metadata of the listener")
			}
		}
	})
}

// opaque reports whether a filter runs code that is elsewhere and may change requests.
func opaque(m *manager, f filter) bool {
	switch f.message {
	case "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor":
		mode := f.config.get("processing_mode")
		silent := mode.get("request_header_mode").enum("DEFAULT", "SEND", "SKIP") == "SKIP" && !f.config.get("allow_mode_override").yes()
		return !silent && !f.config.get("observability_mode").yes() && !f.config.get("mutation_rules", "disallow_all").yes()
	case "envoy.extensions.filters.http.wasm.v3.Wasm", "envoy.extensions.filters.http.golang.v3alpha.Config",
		"envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter":
		return true
	}
	return luaUnread(m, f)
}

package doctor

import (
	"slices"
	"strings"
)

// unverifiedAuthz finds connections to Scopeward whose other end may be anybody.
func unverifiedAuthz(e *subject, report reporter) {
	const fix = `common_tls_context: {validation_context: {trusted_ca: {filename: ca.crt}, match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: scopeward.example.com}}]}}`
	e.eachCluster(func(name string, _ *node) {
		cluster := e.byName[name]
		if cluster == nil {
			return
		}
		if addresses, known := e.addresses(cluster); known && !slices.ContainsFunc(addresses, func(a *node) bool { return !isLocal(a) }) {
			return
		}
		for _, field := range []string{"transport_socket", "transport_socket_matches"} {
			for n := range cluster.get(field).all() {
				if message, fields := n.typed(); strings.HasSuffix(message, ".UpstreamTlsContext") {
					if at, why := e.unverified(cluster, fields); why != "" {
						report(at, why+" It gets the tokens of all requests, and says who passes.", fix)
					}
				}
			}
		}
	})
}

// unverified says why the server of an UpstreamTlsContext may be another one than
// Scopeward; "" if it may not, or if it can't be told.
func (e *subject) unverified(cluster, tls *node) (at *node, why string) {
	contexts, elsewhere := e.validation(tls.get("common_tls_context"))
	at = tls.get("common_tls_context", "validation_context")
	authority := false
	name := tls.get("auto_sni_san_validation").yes() ||
		cluster.get("typed_extension_protocol_options", protocolOptions, "upstream_http_protocol_options", "auto_san_validation").yes()
	for _, c := range contexts {
		at = c
		if trust := c.get("trust_chain_verification"); trust.enum("VERIFY_TRUST_CHAIN", "ACCEPT_UNTRUSTED") == "ACCEPT_UNTRUSTED" {
			return trust, "Envoy takes any certificate for Scopeward's (ACCEPT_UNTRUSTED), so anybody on the way can answer in its place."
		}
		pinned := anyOf(c, "verify_certificate_spki", "verify_certificate_hash", "custom_validator_config")
		authority = authority || pinned || anyOf(c, "trusted_ca", "system_root_certs", "ca_certificate_provider_instance")
		name = name || pinned || anyOf(c, "match_typed_subject_alt_names", "match_subject_alt_names")
	}
	switch {
	case elsewhere:
		return nil, "" // it may say what is missing here
	case !authority:
		return at, "Envoy does not verify Scopeward's certificate (there is no trusted_ca), so anybody on the way can answer in its place."
	case !name:
		return at, "Envoy takes any certificate of this CA for Scopeward's: it compares no name, whatever sni says."
	}
	return nil, ""
}

// validation gives the validation contexts of a CommonTlsContext, and reports whether
// there is one more that is not in the configuration.
func (e *subject) validation(common *node) (contexts []*node, elsewhere bool) {
	combined := common.get("combined_validation_context")
	for _, c := range []*node{common.get("validation_context"), combined.get("default_validation_context")} {
		if c.exists() {
			contexts = append(contexts, c)
		}
	}
	for _, reference := range []*node{common.get("validation_context_sds_secret_config"), combined.get("validation_context_sds_secret_config")} {
		if !reference.exists() {
			continue
		}
		found := false
		for _, s := range e.bootstrap.get("static_resources", "secrets").items() {
			if !reference.get("sds_config").exists() && s.get("name").text() == reference.get("name").text() {
				contexts, found = append(contexts, s.get("validation_context")), true
			}
		}
		elsewhere = elsewhere || !found
	}
	return contexts, elsewhere
}

// anyOf reports whether a node has one of these fields.
func anyOf(n *node, fields ...string) bool {
	return slices.ContainsFunc(fields, func(f string) bool { return n.get(f).exists() })
}

package doctor

import (
	"slices"
	"strings"
)

// sent reports whether ext_authz sends a request's header to Scopeward.
func sent(f filter, name string) bool {
	allowed, disallowed := f.config.get("allowed_headers"), f.config.get("disallowed_headers")
	return (!allowed.exists() || matchesAny(allowed, name)) && !matchesAny(disallowed, name)
}

func tokenRemoved(e *subject, report reporter) {
	e.eachAuthz(func(m *manager, f filter) {
		if m == nil || sent(f, "authorization") {
			return
		}
		if at := f.config.get("disallowed_headers"); matchesAny(at, "authorization") {
			report(at, "ext_authz does not send Authorization: Scopeward never sees a token, and refuses all that is not public.", "remove authorization from it")
			return
		}
		report(f.config.get("allowed_headers"), "ext_authz sends these headers only, without Authorization: Scopeward never sees a token, and refuses all that is not public.",
			"allowed_headers: {patterns: [{exact: authorization}, {exact: x-request-id}]}")
	})
	e.eachAsking(func(m *manager) {
		for _, f := range before(m, m.authz) {
			for _, at := range removesToken(m, f) {
				report(at.node, at.why, at.fix)
			}
		}
	})
}

// removal is where a filter takes the token out of requests.
type removal struct {
	node     *node
	why, fix string
}

func removesToken(m *manager, f filter) (found []removal) {
	const behind = "put it behind ext_authz"
	switch f.message {
	case "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication":
		for _, provider := range f.config.get("providers").entries() {
			if !provider.get("forward").yes() && takesAuthorization(provider) {
				found = append(found, removal{provider, "This filter takes the token out of each request that it has verified: Scopeward, behind it, finds none and refuses it.", "forward: true"})
			}
		}
	case "envoy.extensions.filters.http.oauth2.v3.OAuth2":
		config := f.config.get("config")
		if !config.get("forward_bearer_token").yes() && !config.get("preserve_authorization_header").yes() && !config.get("forward_id_token").exists() {
			found = append(found, removal{config, "This filter logs people in, and keeps their token to itself: Scopeward, behind it, finds none.", "forward_bearer_token: true"})
		}
	}
	for _, mutation := range mutations(m, f) {
		if strings.EqualFold(mutation.get("remove").text(), "authorization") {
			found = append(found, removal{mutation, "This filter removes Authorization before Scopeward is asked: all that is not public is refused.", behind})
		}
	}
	if luaTouches(m, f, "remove", "authorization") {
		found = append(found, removal{f.at, "This filter removes Authorization before Scopeward is asked: all that is not public is refused.", behind})
	}
	return found
}

// takesAuthorization reports whether a JwtProvider reads the Authorization header.
func takesAuthorization(provider *node) bool {
	from := provider.get("from_headers").items()
	return len(from) == 0 && !provider.get("from_params").exists() && !provider.get("from_cookies").exists() ||
		slices.ContainsFunc(from, func(h *node) bool { return strings.EqualFold(h.get("name").text(), "authorization") })
}

// tokenInjected finds filters that make every request one of Envoy's own.
func tokenInjected(e *subject, report reporter) {
	const why = "This filter puts a token of Envoy's own into each request before Scopeward is asked: everybody is taken for Envoy, and may what it may."
	e.eachAsking(func(m *manager) {
		for _, f := range before(m, m.authz) {
			into := "authorization"
			switch f.message {
			case "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector":
				if _, credential := f.config.get("credential", "typed_config").typed(); credential.get("header").exists() {
					into = credential.get("header").text()
				}
			case "envoy.extensions.filters.http.gcp_authn.v3.GcpAuthnFilterConfig":
				if name := f.config.get("token_header", "name"); name.exists() || f.config.get("token_metadata_key").exists() {
					into = name.text()
				}
			default:
				into = ""
			}
			if strings.EqualFold(into, "authorization") {
				report(f.at, why, "put it behind ext_authz")
			}
			for _, mutation := range mutations(m, f) {
				// A token of the client's, from a cookie or elsewhere, is its own.
				if option := mutation.get("append"); strings.EqualFold(option.get("header", "key").text(), "authorization") && !fromClient(option) {
					report(option, why, "put it behind ext_authz")
				}
			}
		}
	})
}

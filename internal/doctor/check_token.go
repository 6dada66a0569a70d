package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// sent reports whether ext_authz sends a request's header to Scopeward.
func sent(f filter, name string) bool {
	allowed, disallowed := f.config.get("allowed_headers"), f.config.get("disallowed_headers")
	return (!allowed.exists() || matchesAny(allowed, name)) && !matchesAny(disallowed, name)
}

// unsentHeaders finds what Scopeward looks at and is not shown.
func unsentHeaders(e *subject, report reporter) {
	e.eachAuthz(func(m *manager, f filter) {
		if m == nil || f.config.get("http_service").exists() {
			return
		}
		var missing, patterns []string
		for _, name := range e.Reads {
			if name != "authorization" && !sent(f, name) { // of which token-removed tells
				missing, patterns = append(missing, name), append(patterns, "{exact: "+name+"}")
			}
		}
		if len(missing) == 0 {
			return
		}
		at, fix := f.config.get("allowed_headers"), "add "+strings.Join(patterns, ", ")+" to its patterns"
		if matchesAny(f.config.get("disallowed_headers"), missing[0]) {
			at, fix = f.config.get("disallowed_headers"), "remove "+strings.Join(missing, ", ")+" from it"
		}
		report(at, fmt.Sprintf("ext_authz does not send %s, which Scopeward is set to look at: to it no request has them.", strings.Join(missing, ", ")), fix)
	})
}

func tokenRemoved(e *subject, report reporter) {
	if e.Reads != nil && !slices.Contains(e.Reads, "authorization") {
		return
	}
	e.eachAuthz(func(m *manager, f filter) {
		if m == nil || f.config.get("http_service").exists() || sent(f, "authorization") { // over HTTP it is always sent
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
		for _, mutation := range early(m) {
			if removes(mutation, "authorization") {
				report(mutation, "Authorization is removed before Scopeward is asked: all that is not public is refused.", "remove it")
			}
		}
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
	case apiKeyAuth:
		if f.config.get("forwarding", "hide_client_credentials").yes() && slices.ContainsFunc(f.config.get("key_sources").items(), func(s *node) bool { return strings.EqualFold(s.get("header").text(), "authorization") }) {
			found = append(found, removal{f.config.get("forwarding", "hide_client_credentials"), "This filter takes Authorization out of requests: Scopeward, behind it, finds none.", behind})
		}
	case "envoy.extensions.filters.http.aws_request_signing.v3.AwsRequestSigning":
		found = append(found, removal{f.at, "This filter puts its signature into Authorization, in place of the client's token, before Scopeward is asked: all that is not public is refused.", behind})
	case headerMetadata:
		for _, rule := range f.config.get("request_rules").items() {
			if rule.get("remove").yes() && strings.EqualFold(rule.get("header").text(), "authorization") {
				found = append(found, removal{rule, "This filter takes Authorization out of requests: Scopeward, behind it, finds none.", "remove: false"})
			}
		}
	case jwtAuthn:
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
		if removes(mutation, "authorization") {
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

// removes reports whether a HeaderMutation takes a header out.
func removes(mutation *node, header string) bool {
	return strings.EqualFold(mutation.get("remove").text(), header) || matches(mutation.get("remove_on_match", "key_matcher"), header)
}

// tokenInjected finds what makes every request one of Envoy's own.
func tokenInjected(e *subject, report reporter) {
	const (
		what = " puts a token of Envoy's own into each request before Scopeward is asked: everybody is taken for Envoy, and may what it may."
		fix  = "put it behind ext_authz"
	)
	e.eachAsking(func(m *manager) {
		for _, mutation := range early(m) {
			if setsToken(mutation) {
				report(mutation.get("append"), "It"+what, "remove it: a credential for the service is set by a filter behind ext_authz")
			}
		}
		for _, f := range before(m, m.authz) {
			if injects(f) || luaSetsToken(m, f) {
				report(f.at, "This filter"+what, fix)
			}
			for _, mutation := range mutations(m, f) {
				if setsToken(mutation) {
					report(mutation.get("append"), "This filter"+what, fix)
				}
			}
		}
	})
}

// injects reports whether a filter is one that sets Authorization to a credential of
// Envoy's.
func injects(f filter) bool {
	into := ""
	switch f.message {
	case credentialInjector:
		into = "authorization"
		if _, credential := f.config.get("credential", "typed_config").typed(); credential.get("header").exists() {
			into = credential.get("header").text()
		}
	case gcpAuthn:
		into = "authorization"
		if name := f.config.get("token_header", "name"); name.exists() || f.config.get("token_metadata_key").exists() {
			into = name.text()
		}
	}
	return strings.EqualFold(into, "authorization")
}

// setsToken reports whether a HeaderMutation sets Authorization to a token that is not
// the client's. One that Envoy's filters take from a cookie or a parameter is.
func setsToken(mutation *node) bool {
	option := mutation.get("append")
	value := option.get("header", "value").text()
	return strings.EqualFold(option.get("header", "key").text(), "authorization") && !fromClient(option) &&
		!strings.Contains(value, "%DYNAMIC_METADATA") && !strings.Contains(value, "%FILTER_STATE")
}

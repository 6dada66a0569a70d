package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// isIdentity reports whether a header is one that Scopeward sets. Without a
// configuration of Scopeward's, the names are those of its documentation.
func (e *subject) isIdentity(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	if e.Headers == nil {
		return strings.HasPrefix(name, "x-auth-")
	}
	return slices.ContainsFunc(e.Headers, func(h string) bool { return strings.ReplaceAll(h, "_", "-") == name })
}

// identity gives the names of the headers that Scopeward sets, or an example.
func (e *subject) identity() []string {
	if e.Headers == nil {
		return []string{"x-auth-subject"}
	}
	return e.Headers
}

// before gives the filters that requests pass before any by which Scopeward is asked.
func before(m *manager, authz []filter) []filter {
	i := slices.IndexFunc(m.filters, func(f filter) bool { return len(authz) > 0 && f.at == authz[0].at })
	return m.filters[:max(i, 0)]
}

// after gives the filters that requests pass after the last.
func after(m *manager, authz []filter) []filter {
	for i, f := range slices.Backward(m.filters) {
		if len(authz) > 0 && f.at == authz[len(authz)-1].at {
			return m.filters[i+1:]
		}
	}
	return nil
}

// early gives what is done to the headers of requests before any filter sees them.
func early(m *manager) (found []*node) {
	for _, extension := range m.config.get("early_header_mutation_extensions").items() {
		if message, fields := extension.get("typed_config").typed(); message == "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation" {
			found = append(found, fields.get("mutations").items()...)
		}
	}
	return found
}

// mutations gives what a header mutation filter does to requests, also by route.
func mutations(m *manager, f filter) []*node {
	const message = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
	if f.message != message {
		return nil
	}
	found := f.config.get("mutations", "request_mutations").items()
	for _, l := range m.leaves {
		for _, s := range l.perFilter(f.name) {
			if own, fields := s.typed(); own == message+"PerRoute" {
				found = append(found, fields.get("mutations", "request_mutations").items()...)
			}
		}
	}
	return found
}

func headerMutations(e *subject, report reporter) {
	e.eachAuthz(func(m *manager, f filter) {
		rules := f.config.get("decoder_header_mutation_rules")
		if m == nil || !rules.exists() {
			return
		}
		for _, name := range e.Edits {
			if mayMutate(rules, name) {
				continue
			}
			report(rules, fmt.Sprintf("These rules refuse what Scopeward does to %s: the credential that is in it reaches the service.", name),
				"remove decoder_header_mutation_rules, or let them allow "+name)
			return
		}
		for _, name := range e.identity() {
			if mayMutate(rules, name) {
				continue
			}
			report(rules, fmt.Sprintf("These rules refuse what Scopeward does to %s: a client's own reaches the service, as if Scopeward had set it.", name),
				"remove decoder_header_mutation_rules, or let them allow "+name)
			return
		}
	})
}

// mayMutate reports whether HeaderMutationRules let a header be changed
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/common/mutation_rules/v3/mutation_rules.proto).
func mayMutate(rules *node, name string) bool {
	switch {
	case matchesRegex(rules.get("disallow_expression"), name):
		return false
	case matchesRegex(rules.get("allow_expression"), name):
		return true
	case strings.HasPrefix(name, ":") && rules.get("disallow_system").yes():
		return false
	default:
		return !rules.get("disallow_all").yes() && (rules.get("allow_envoy").yes() || !strings.HasPrefix(name, "x-envoy"))
	}
}

func underscoreHeaders(e *subject, report reporter) {
	e.eachAuthz(func(m *manager, f filter) {
		if m == nil || dropsUnderscores(m) {
			return
		}
		for _, name := range e.identity() {
			spelling := strings.ReplaceAll(name, "-", "_")
			if spelling == name || sent(f, spelling) {
				continue
			}
			at := f.config.get("allowed_headers")
			if !at.exists() {
				at = f.config.get("disallowed_headers")
			}
			report(at, fmt.Sprintf("ext_authz does not send %s, so Scopeward can't remove it; many servers read it as %s.", spelling, name),
				"common_http_protocol_options: {headers_with_underscores_action: REJECT_REQUEST}    # in the HTTP connection manager")
			return
		}
	})
	// Nor does it see what comes by a route that is open on purpose.
	e.eachOnPurpose(func(m *manager, l leaf) {
		if dropsUnderscores(m) {
			return
		}
		for _, name := range e.identity() {
			mixes := mixesOf(name)
			if i := slices.IndexFunc(mixes, func(mix string) bool { return !l.removes(mix) }); i >= 0 {
				report(m.config.get("common_http_protocol_options", "headers_with_underscores_action"),
					fmt.Sprintf("Scopeward does not see the requests of an open route (%s), so a client's own %s reaches the service; many servers read it as %s.", match(l.route), mixes[i], name),
					"common_http_protocol_options: {headers_with_underscores_action: REJECT_REQUEST}    # in the HTTP connection manager")
				return
			}
		}
	})
}

// mixesOf gives all ways to write some hyphens of a name as underscores.
func mixesOf(name string) (mixes []string) {
	const most = 6 // hyphens; of a name with more, one mix stands for all
	before, after, found := strings.Cut(name, "-")
	switch {
	case !found:
		return nil
	case strings.Count(name, "-") > most:
		return []string{strings.ReplaceAll(name, "-", "_")}
	}
	for _, rest := range append(mixesOf(after), after) {
		mixes = append(mixes, before+"_"+rest)
	}
	for _, rest := range mixesOf(after) {
		mixes = append(mixes, before+"-"+rest)
	}
	return mixes
}

// dropsUnderscores reports whether no header with an underscore gets as far as the
// filters.
func dropsUnderscores(m *manager) bool {
	action := m.config.get("common_http_protocol_options", "headers_with_underscores_action").enum("ALLOW", "REJECT_REQUEST", "DROP_HEADER")
	return action == "REJECT_REQUEST" || action == "DROP_HEADER"
}

func identityHeaders(e *subject, report reporter) {
	look := func(option *node) {
		name := option.get("header", "key").text()
		if why := e.overwrites(option); why != "" && e.isIdentity(name) {
			report(option, fmt.Sprintf("%s is set after Scopeward's decision, %s.", name, why), "remove it: Scopeward sets "+name)
		}
	}
	e.eachAsking(func(m *manager) {
		for _, l := range m.leaves {
			for _, level := range l.levels {
				for _, option := range level.get("request_headers_to_add").items() {
					look(option)
				}
			}
		}
		for _, f := range slices.Concat(after(m, m.authz), e.upstream(m)) {
			for _, mutation := range mutations(m, f) {
				look(mutation.get("append"))
			}
			for _, at := range namesSet(f) {
				if e.isIdentity(at.text()) {
					report(at, fmt.Sprintf("%s is set after Scopeward's decision, beside or over what Scopeward said.", at.text()), "remove it: Scopeward sets "+at.text())
				}
			}
			if luaTouches(m, f, "replace|add", e.identityPattern()) {
				report(f.at, "This filter changes an identity header after Scopeward's decision.", "leave identity headers to Scopeward")
			}
		}
	})
}

// overwrites says what is wrong with a header that is set after Scopeward, if it is
// an identity header: "" if nothing is.
func (e *subject) overwrites(option *node) string {
	switch {
	case fromClient(option):
		return "from what the client sent: it chooses who it is"
	case option.get("append_action").enum("APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS") == "ADD_IF_ABSENT":
		return ""
	default:
		return "beside or over what Scopeward said"
	}
}

// fromClient reports whether a HeaderValueOption's value is something that the
// client sent.
func fromClient(option *node) bool {
	command := regexp.MustCompile(`%(REQ|REQUEST_HEADER|QUERY_PARAM|PATH|COOKIE|REQUESTED_SERVER_NAME|DOWNSTREAM_PEER|CEL)`)
	return command.MatchString(option.get("header", "value").text())
}

// namesSet gives the places that name headers which a filter sets, other than by
// mutations.
func namesSet(f filter) (names []*node) {
	switch f.message {
	case jwtAuthn:
		for _, provider := range f.config.get("providers").entries() {
			names = append(names, provider.get("forward_payload_header"))
			for _, claim := range provider.get("claim_to_headers").items() {
				names = append(names, claim.get("header_name"))
			}
		}
	case basicAuth:
		names = append(names, f.config.get("forward_username_header"))
	case apiKeyAuth:
		names = append(names, f.config.get("forwarding", "header"))
	case credentialInjector:
		_, credential := f.config.get("credential", "typed_config").typed()
		names = append(names, credential.get("header"))
	case gcpAuthn:
		names = append(names, f.config.get("token_header", "name"))
	}
	return names
}

// identityPattern matches the names of identity headers.
func (e *subject) identityPattern() string {
	if e.Headers == nil {
		return `x[-_]auth[-_][^"']*`
	}
	quoted := make([]string, len(e.Headers))
	for i, h := range e.Headers {
		quoted[i] = strings.ReplaceAll(regexp.QuoteMeta(h), "-", "[-_]")
	}
	return strings.Join(quoted, "|")
}

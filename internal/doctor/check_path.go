package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// eachAsking gives the managers with ext_authz that asks Scopeward.
func (e *subject) eachAsking(do func(m *manager)) {
	for _, ch := range e.chains {
		if ch.manager != nil && len(ch.manager.authz) > 0 {
			do(ch.manager)
		}
	}
}

func pathNormalization(e *subject, report reporter) {
	e.eachAsking(func(m *manager) {
		if at := m.config.get("normalize_path"); !at.exists() {
			report(at, "Whether /a/../b is refused by Scopeward or resolved by Envoy is left to Envoy's version and runtime.",
				"normalize_path: false    # Scopeward refuses what is ambiguous; or true: Envoy resolves it")
		}
	})
}

func mergeSlashes(e *subject, report reporter) {
	e.eachAsking(func(m *manager) {
		if at := m.config.get("merge_slashes"); at.yes() {
			report(at, "Envoy makes /a//b into /a/b before Scopeward sees it, which would refuse it: a CDN, firewall or log in front of Envoy judges another path than your service gets.",
				"merge_slashes: false")
		}
	})
}

// escapedSlashesActions are in the order of their numbers.
func escapedSlashesActions() []string {
	return []string{"IMPLEMENTATION_SPECIFIC_DEFAULT", "KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"}
}

func escapedSlashes(e *subject, report reporter) {
	const keep = "path_with_escaped_slashes_action: KEEP_UNCHANGED"
	e.eachAsking(func(m *manager) {
		at := m.config.get("path_with_escaped_slashes_action")
		switch action := at.enum(escapedSlashesActions()...); {
		case action == "UNESCAPE_AND_FORWARD":
			report(at, "Envoy makes %2F and %5C in a path into slashes before Scopeward sees them, which would refuse them: what one segment was is then several, and who looks at paths in front of Envoy judges another one.", keep)
		case action == "" || action == "IMPLEMENTATION_SPECIFIC_DEFAULT":
			report(at, "What becomes of %2F and %5C in a path is left to Envoy's version and runtime.", keep+"    # Scopeward refuses them; or REJECT_REQUEST: Envoy does")
		case e.EncodedSlash && action != "KEEP_UNCHANGED":
			report(at, fmt.Sprintf("A policy admits %%2F in paths (encoded_slash), and with %s it never arrives.", action), keep)
		}
	})
}

// changer is a filter that changes path or host.
type changer struct {
	filter
	asked bool // Scopeward has been asked before it
}

// changers gives the filters of a manager that are known to change path or host.
// What filters in other processes or WebAssembly do can't be told.
func (e *subject) changers(m *manager) []changer {
	var found []changer
	asked := false
	authz := m.authz
	for _, f := range m.filters {
		asked = asked || slices.ContainsFunc(authz, func(a filter) bool { return a.at == f.at })
		if transcodes(f.message) && !asked || changesPath(m, f) {
			found = append(found, changer{f, asked})
		}
	}
	for _, f := range e.upstream(m) {
		if changesPath(m, f) {
			found = append(found, changer{f, true})
		}
	}
	return found
}

// changesPath reports whether a filter sets or removes path or host.
func changesPath(m *manager, f filter) bool {
	return luaTouches(m, f, "replace|add|remove", ":path|:authority|host") ||
		slices.ContainsFunc(mutations(m, f), func(mutation *node) bool { return isPathOrHost(mutation.get("append", "header", "key").text()) })
}

func isPathOrHost(header string) bool {
	return slices.Contains([]string{":path", ":authority", "host"}, strings.ToLower(header))
}

// transcodes reports whether a filter makes another method and path of a request,
// by its own table. Behind ext_authz that is no other than what a route does.
func transcodes(message string) bool {
	switch message {
	case "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
		"envoy.extensions.filters.http.grpc_json_reverse_transcoder.v3.GrpcJsonReverseTranscoder",
		"envoy.extensions.filters.http.mcp_json_rest_bridge.v3.McpJsonRestBridge":
		return true
	}
	return false
}

func pathAfter(e *subject, report reporter) {
	e.eachAsking(func(m *manager) {
		for _, c := range e.changers(m) {
			if c.asked {
				report(c.at, "This filter changes path or host after Scopeward's decision: the service gets another request than the one that was allowed.",
					"put it in front of ext_authz, or rewrite in the route")
			}
		}
		for _, l := range m.leaves {
			for _, field := range []string{"host_rewrite_header", "path_rewrite", "host_rewrite"} {
				at := l.route.get("route", field)
				if at.exists() && (field == "host_rewrite_header" || strings.Contains(at.text(), "%")) {
					report(at, "What a client sends in a header chooses the path or host that the service gets, after Scopeward's decision.", "remove it, or take a fixed value")
				}
			}
		}
	})
}

func pathBefore(e *subject, report reporter) {
	e.eachAsking(func(m *manager) {
		for _, c := range e.changers(m) {
			if !c.asked {
				report(c.at, "This filter changes path or host before Scopeward is asked: the policy decides about a path that the client did not send, ambiguous ones are not refused, and the audit shows another request.",
					"put ext_authz in front of it, or rewrite in the route")
			}
		}
	})
}

func answeredBefore(e *subject, report reporter) {
	e.eachAsking(func(m *manager) {
		authz := m.authz
		for _, f := range m.filters {
			if f.at == authz[0].at {
				return
			}
			switch f.message {
			case "envoy.extensions.filters.http.cache.v3.CacheConfig", "envoy.extensions.filters.http.cache_v2.v3.CacheV2Config",
				"envoy.extensions.filters.http.file_server.v3.FileServerConfig":
				report(f.at, "This filter answers requests itself, with content, before Scopeward is asked. A cache also asks the service for what it does not have, past the filters behind it.", "put it behind ext_authz")
			}
		}
	})
}

func clearRouteCache(e *subject, report reporter) {
	const why = "The route is chosen anew after Scopeward's decision, which was made with the settings of the first one (its policy, or that ext_authz is off)."
	e.eachAsking(func(m *manager) {
		asked := false
		for _, f := range m.filters {
			switch {
			case f.message == extAuthz && slices.ContainsFunc(m.authz, func(a filter) bool { return a.at == f.at }):
				asked = true
				// With a list, only these headers have the route chosen anew.
				named := f.config.get("clear_route_cache_headers").items()
				at := f.config.get("clear_route_cache")
				if at.yes() && (len(named) == 0 || slices.ContainsFunc(named, func(h *node) bool { return e.isIdentity(h.text()) })) {
					report(at, why, "clear_route_cache: false")
				}
			case asked:
				clearsAfter(m, f, why, report)
			}
		}
	})
}

// clearsAfter looks at a filter behind ext_authz.
func clearsAfter(m *manager, f filter, why string, report reporter) {
	for n := range f.config.all() {
		if (n.key == "clear_route_cache" || n.key == "clearRouteCache") && n.yes() {
			report(n, why, "clear_route_cache: false, or put the filter in front of ext_authz")
		}
	}
	if slices.ContainsFunc(lua(m, f), func(code string) bool { return strings.Contains(code, ":clearRouteCache(") }) {
		report(f.at, why, "remove clearRouteCache(), or put the filter in front of ext_authz")
	}
}

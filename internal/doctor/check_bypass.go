package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// eachExposed gives the managers that clients reach.
func (e *subject) eachExposed(do func(m *manager)) {
	for _, ch := range e.chains {
		if ch.manager != nil && e.exposed(ch) && !e.asksNetwork(ch) {
			do(ch.manager)
		}
	}
}

// asksNetwork reports whether Scopeward is asked about connections: it denies
// all that is no HTTP request.
func (e *subject) asksNetwork(ch chain) bool {
	return slices.ContainsFunc(ch.filters, func(f filter) bool { return f.message == networkAuthz && e.services[service(f.config)] })
}

func listenerBypass(e *subject, report reporter) {
	e.eachExposed(func(m *manager) {
		toServices := slices.ContainsFunc(m.leaves, func(l leaf) bool { return !e.harmless(l) })
		if len(m.authz) > 0 || !toServices && len(m.unseen) == 0 || slices.ContainsFunc(m.filters, filter.old) {
			return
		}
		report(m.config.get("http_filters"), "Requests reach a service through this listener, and Scopeward is not asked about any of them.",
			"add the ext_authz filter in front of the router, as on the other listeners")
	})
	for _, ch := range e.chains {
		if ch.manager != nil || !e.exposed(ch) || e.asksNetwork(ch) || len(ch.filters) == 0 {
			continue
		}
		last := ch.filters[len(ch.filters)-1]
		if last.unseen || last.old() || last.message == directResponse || last.message == echo || last.message == tcpProxy && !e.leadsOn(ch) {
			continue
		}
		report(last.at, "This listener passes connections on without looking for requests in them: whatever is behind gets them unasked.",
			"use an HTTP connection manager with ext_authz, or let the listener be reached by those only who may")
	}
}

// leadsOn reports whether a TCP proxy leads to more than nowhere, or listeners of
// this Envoy that are looked at themselves.
func (e *subject) leadsOn(ch chain) bool {
	return slices.ContainsFunc(ch.passes(), func(name string) bool {
		addresses, known := e.addressesOf(name)
		return !known || slices.ContainsFunc(addresses, func(a *node) bool { return internalListener(a) == "" })
	})
}

// openLeaf is a leaf that leads to a service unasked.
type openLeaf struct {
	leaf
	gap *gap
}

// open gives the open leaves of a manager with ext_authz. If a filter that is
// switched off is the reason for all of its leaves, that is one more to say.
func (e *subject) open(m *manager) (open []openLeaf, switched *node) {
	if len(m.authz) == 0 {
		return nil, nil
	}
	all := true
	for _, l := range m.leaves {
		if e.harmless(l) {
			continue
		}
		g := e.gap(m, l)
		if g != nil {
			open = append(open, openLeaf{l, g})
		}
		all = all && g != nil && g.switched
	}
	if all && len(open) > 0 {
		return open, open[0].gap.at
	}
	return open, nil
}

func filterDisabled(e *subject, report reporter) {
	e.eachExposed(func(m *manager) {
		if _, at := e.open(m); at != nil {
			report(at, "The filter is switched off, and no route switches it on: Scopeward is asked about nothing.", "disabled: false")
		}
	})
}

func routeBypass(e *subject, report reporter) {
	const (
		passes = "they pass without a token, and with the client's own identity headers where nothing else removes them."
		public = `remove it; what is for everybody, let the policy say: - {match: "GET /path", public: true}`
	)
	e.eachExposed(func(m *manager) {
		open, switched := e.open(m)
		if switched != nil {
			return
		}
		for _, l := range open {
			switch g := l.gap; {
			case g.switched:
				report(l.at, "ext_authz is off for routes that do not switch it on, and this one does not: "+passes,
					"remove disabled: true from the filter, or switch it on for this route")
			case g.service != "":
				report(g.at, fmt.Sprintf("%s is asked about these requests, and Scopeward is not: ", g.service)+passes, "remove it")
			default:
				report(g.at, "Scopeward is not asked about these requests: "+passes, public)
			}
		}
	})
}

// bypassPath is about routes that are open on purpose, as their metadata says: an
// open one that was not meant is a finding of routeBypass.
func bypassPath(e *subject, report reporter) {
	e.eachOnPurpose(func(m *manager, l leaf) {
		if l.narrow() || resolves(m) {
			return
		}
		report(l.route.get("match"), fmt.Sprintf("Envoy matches the path as it came: a path with /../ or %%2F in it meets %q, passes unasked, and the service may read it as another one. Scopeward would refuse it.", match(l.route)),
			"path: /one/path    # or normalize_path: true with path_with_escaped_slashes_action: REJECT_REQUEST")
	})
}

// resolves reports whether a manager leaves no . and .. in paths, in any spelling.
func resolves(m *manager) bool {
	action := m.config.get("path_with_escaped_slashes_action").enum(escapedSlashesActions()...)
	return m.config.get("normalize_path").yes() && slices.Contains([]string{"REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"}, action)
}

func bypassHeaders(e *subject, report reporter) {
	e.eachOnPurpose(func(_ *manager, l leaf) {
		var left []string
		for _, name := range e.Headers {
			if !l.removes(name) {
				left = append(left, name)
			}
		}
		if len(left) > 0 {
			report(l.route, fmt.Sprintf("Scopeward does not see these requests, so a client's own %s reaches the service.", strings.Join(left, ", ")),
				"request_headers_to_remove: ["+strings.Join(left, ", ")+"]")
		}
	})
}

// eachOnPurpose gives the open leaves whose metadata says that they are meant so.
func (e *subject) eachOnPurpose(do func(m *manager, l leaf)) {
	e.eachExposed(func(m *manager) {
		open, _ := e.open(m)
		for _, l := range open {
			if onPurpose(l.gap, l.leaf) {
				do(m, l.leaf)
			}
		}
	})
}

// onPurpose reports whether metadata says that a leaf is meant to be open.
func onPurpose(g *gap, l leaf) bool {
	said := ignores{used: map[string]bool{}}
	return said.silence("route-bypass", g.at) || said.silence("route-bypass", l.at)
}

func upgradeBypass(e *subject, report reporter) {
	e.eachExposed(func(m *manager) {
		if len(m.authz) == 0 {
			return
		}
		for _, u := range m.config.get("upgrade_configs").items() {
			own := manager{config: m.config, filters: e.filters(u.get("filters")), leaves: m.leaves}
			enabled := u.get("enabled")
			if len(own.filters) == 0 || enabled.exists() && !enabled.yes() {
				continue
			}
			if len(e.authz(&own)) == 0 {
				report(u.get("filters"), fmt.Sprintf("A request with Upgrade: %s passes these filters only: Scopeward is not asked about it.", u.get("upgrade_type").text()),
					"remove filters, so that upgrades pass those of all requests; or add ext_authz to them")
			}
		}
	})
}

// unusedSettings finds those of routes that no manager has the filter for, of which
// Envoy says nothing (measured), and those of routes that nothing reaches.
func unusedSettings(e *subject, report reporter) {
	names := map[string]bool{}
	for _, ch := range e.chains {
		if ch.manager != nil {
			for _, f := range ch.manager.filters {
				names[f.name] = true
			}
		}
	}
	e.eachAsking(func(m *manager) {
		for _, l := range m.hidden {
			for _, f := range m.authz {
				for _, level := range l.levels[:len(l.levels)-2] {
					if s := level.get("typed_per_filter_config", f.name); s.exists() {
						report(s, fmt.Sprintf("No request reaches this route, nor these settings: the one in front of it (%s) takes them all.", match(l.behind)), "put the route in front of the other, or remove it")
					}
				}
			}
		}
		for _, l := range m.leaves {
			for _, level := range l.levels {
				for name, s := range level.get("typed_per_filter_config").entries() {
					if !names[name] && authzSettings([]*node{s}) != nil {
						report(s, fmt.Sprintf("No filter is named %s: Envoy ignores these settings.", name), m.authz[0].name+":    # the name of the filter in http_filters")
					}
				}
			}
		}
	})
}

func incomplete(e *subject, report reporter) {
	const fix = "scopeward doctor http://127.0.0.1:9901    # the admin interface of the Envoy that runs with it"
	if lds := e.bootstrap.get("dynamic_resources", "lds_config"); lds.exists() && !e.running {
		report(lds, "Listeners come from a control plane: they are not in this file.", fix)
	} else if len(e.listeners) == 0 {
		report(e.bootstrap.get("static_resources", "listeners"), "There is no listener: nothing that Scopeward could protect.", "give the configuration with the listeners")
	}
	for _, ch := range e.chains {
		filters := ch.filters
		if ch.manager != nil {
			filters = ch.manager.filters
			for _, at := range ch.manager.unseen {
				report(at, "These routes come from a control plane: whether they bypass Scopeward can't be told from here.", fix)
			}
		}
		for _, f := range slices.Concat(ch.filters, filters) {
			if f.old() {
				report(f.at, "This filter is written for version 2 of Envoy's API, which Envoy refuses since 1.18, and which is not read here: what it does can't be told.", "write it for version 3")
			}
			if f.unseen && (ch.manager == nil || f.message == extAuthz) {
				report(f.config, "The settings of this filter come from a control plane: they can't be told from here.", fix)
			}
		}
	}
}

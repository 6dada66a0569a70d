package doctor

import (
	"slices"
	"strings"
)

// leaf is where a request can go: a route, or one cluster of a weighted route.
type leaf struct {
	at      *node   // the route, or its weighted cluster
	route   *node   // the route
	levels  []*node // what holds settings for it, the most specific first; they win
	cluster string  // "" if a header or a plugin chooses
	match   pathMatch
	behind  *node // an earlier route that takes all of its requests, if one does
}

// routeConfigs gives the route configurations of a manager, and what names some
// that the configuration does not hold.
func (c *Config) routeConfigs(manager *node) (found, unseen []*node) {
	byName := func(name *node) {
		for _, r := range c.routes {
			if r.get("name").text() == name.text() {
				found = append(found, r)
				return
			}
		}
		unseen = append(unseen, name)
	}
	scoped := func(list *node) {
		for _, scope := range list.items() {
			if inline := scope.get("route_configuration"); inline.exists() {
				found = append(found, inline)
			} else {
				byName(scope.get("route_configuration_name"))
			}
		}
	}
	if inline := manager.get("route_config"); inline.exists() {
		found = append(found, inline)
	}
	if rds := manager.get("rds"); rds.exists() {
		byName(rds.get("route_config_name"))
	}
	scopes := manager.get("scoped_routes")
	scoped(scopes.get("scoped_route_configurations_list", "scoped_route_configurations"))
	if srds := scopes.get("scoped_rds"); srds.exists() {
		arrived := false
		for _, s := range c.scopes {
			if s.get("name").text() == scopes.get("name").text() {
				arrived = true
				scoped(s.get("scoped_route_configs"))
			}
		}
		if !arrived {
			unseen = append(unseen, srds)
		}
	}
	return found, unseen
}

// leaves gives all that a route configuration leads to.
func leaves(config *node) []leaf {
	var found []leaf
	for _, host := range config.get("virtual_hosts").items() {
		routes := host.get("routes").items()
		inOrder := len(routes)
		for n := range host.get("matcher").all() { // routes may be in a tree of matchers
			switch message, fields := n.typed(); message {
			case routeMessage:
				routes = append(routes, fields)
			case routeList:
				routes = append(routes, fields.get("routes").items()...)
			}
		}
		matches := make([]pathMatch, 0, inOrder)
		for i, route := range routes {
			match := readMatch(route)
			var behind *node
			if i < inOrder {
				if first := slices.IndexFunc(matches, func(earlier pathMatch) bool { return earlier.covers(match) }); first >= 0 {
					behind = routes[first]
				}
				matches = append(matches, match)
			}
			for _, l := range routeLeaves(route, host, config) {
				l.match, l.behind = match, behind
				found = append(found, l)
			}
		}
	}
	return found
}

func routeLeaves(route, host, config *node) []leaf {
	levels := []*node{route, host, config}
	weighted := route.get("route", "weighted_clusters", "clusters").items()
	if len(weighted) == 0 {
		return []leaf{{at: route, route: route, levels: levels, cluster: route.get("route", "cluster").text()}}
	}
	var found []leaf
	for _, w := range weighted {
		found = append(found, leaf{at: w, route: route, levels: append([]*node{w}, levels...), cluster: w.get("name").text()})
	}
	return found
}

// answersItself reports whether Envoy answers, and no service behind it.
func (l leaf) answersItself() bool { return !l.route.get("route").exists() }

// perFilter gives the settings of a filter at each level that has some.
func (l leaf) perFilter(name string) []*node {
	var found []*node
	for _, level := range l.levels {
		for key, n := range level.get("typed_per_filter_config").entries() {
			if key == name {
				found = append(found, n)
			}
		}
	}
	return found
}

// off says what switches a filter off for this leaf, nil if nothing does. Envoy has
// two ways, measured with the real one: any entry of the most specific level
// switches the filter on, but for a FilterConfig with disabled; and then the
// most specific ExtAuthzPerRoute counts.
func (l leaf) off(f filter) *node {
	settings := l.perFilter(f.name)
	if len(settings) == 0 {
		if disabled := f.at.get("disabled"); disabled.yes() {
			return disabled
		}
		return nil
	}
	if message, fields := settings[0].typed(); message == filterConfig && fields.get("disabled").yes() {
		return fields.get("disabled")
	}
	if own := authzSettings(settings); own != nil && own.get("disabled").yes() {
		return own.get("disabled")
	}
	return nil
}

// authzSettings gives the most specific ExtAuthzPerRoute, nil without one.
func authzSettings(settings []*node) *node {
	for _, s := range settings {
		message, fields := s.typed()
		if message == filterConfig {
			message, fields = fields.get("config").typed()
		}
		if message == extAuthzPerRoute {
			return fields
		}
	}
	return nil
}

// service names what a filter asks about requests to this leaf.
func (l leaf) service(f filter) (name string, from *node) {
	if own := authzSettings(l.perFilter(f.name)); own != nil {
		if name := service(own.get("check_settings")); name != "" {
			return name, own.get("check_settings")
		}
	}
	return service(f.config), f.config
}

// removes reports whether a header does not reach the service.
func (l leaf) removes(header string) bool {
	return slices.ContainsFunc(l.levels, func(level *node) bool {
		return slices.ContainsFunc(level.get("request_headers_to_remove").items(), func(h *node) bool { return strings.EqualFold(h.text(), header) })
	})
}

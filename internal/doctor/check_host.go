package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// hostSpelling finds hosts whose policy depends on how a client spells them: Envoy
// compares the Host header as it came, but for upper case, while Scopeward's
// patterns and most services take HOST. and HOST:PORT for HOST.
func hostSpelling(e *subject, report reporter) {
	e.eachAsking(func(m *manager) {
		hosts := virtualHosts(m)
		for _, h := range hosts {
			for _, domain := range h.at.get("domains").items() {
				for _, s := range spellingsOf(m, h, domain) {
					if other := meets(hosts, h.config, s.host); other != nil && other.at != h.at && !slices.Equal(other.policies, h.policies) {
						report(s.at, fmt.Sprintf("%s is the same host as %s, and meets the virtual host %q, which has other policies than %q: the client chooses by which one is decided.",
							s.host, domain.text(), other.at.get("name").text(), h.at.get("name").text()), s.fix)
					}
				}
			}
		}
	})
}

// virtualHost is one of a manager's, with the policies that it names, sorted; "" is
// that of routes that name none.
type virtualHost struct {
	at, config *node
	policies   []string
}

func virtualHosts(m *manager) (hosts []*virtualHost) {
	for _, l := range m.leaves {
		host, config := l.levels[len(l.levels)-2], l.levels[len(l.levels)-1]
		i := slices.IndexFunc(hosts, func(h *virtualHost) bool { return h.at == host })
		if i < 0 {
			i = len(hosts)
			hosts = append(hosts, &virtualHost{at: host, config: config})
		}
		policy := l.policy(m.authz[0])
		if at, found := slices.BinarySearch(hosts[i].policies, policy); !found {
			hosts[i].policies = slices.Insert(hosts[i].policies, at, policy)
		}
	}
	return hosts
}

// policy is the name that Envoy gives Scopeward for this leaf: Envoy merges the
// context_extensions of all levels, and the most specific one wins.
func (l leaf) policy(f filter) string {
	for _, settings := range l.perFilter(f.name) {
		own := authzSettings([]*node{settings})
		if own == nil {
			continue
		}
		if name := own.get("check_settings", "context_extensions", "policy"); name.exists() {
			return name.text()
		}
	}
	return ""
}

// spelling is another way to write a host, and the setting that makes it one.
type spelling struct {
	host string
	at   *node
	fix  string
}

// spellingsOf gives the other spellings of a domain. One with a wildcard stands for a
// host that it takes.
func spellingsOf(m *manager, h *virtualHost, domain *node) (found []spelling) {
	if domain.text() == "*" {
		return nil
	}
	name := strings.Replace(domain.text(), "*", "any", 1)
	bare, port, hasPort := strings.Cut(name, ":")
	bare = strings.TrimSuffix(bare, ".")
	// That Envoy strips a dot does not help: of two it leaves one.
	both := fmt.Sprintf("domains: [%s, %s.]    # strip_trailing_host_dot is not enough: of two dots it leaves one", bare, bare)
	found = append(found, spelling{bare, domain, both}, spelling{bare + ".", domain, both})
	if setting := h.config.get("ignore_port_in_host_matching"); !setting.yes() && !m.config.get("strip_any_host_port").yes() && (!hasPort || port != "*") {
		found = append(found, spelling{bare + ":8080", setting, "ignore_port_in_host_matching: true    # in the route configuration"})
	}
	return slices.DeleteFunc(found, func(s spelling) bool { return s.host == name })
}

// meets gives the virtual host that takes a host, by Envoy's order: the same name,
// the longest *SUFFIX, the longest PREFIX*, and *
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#envoy-v3-api-field-config-route-v3-virtualhost-domains).
func meets(hosts []*virtualHost, config *node, host string) (found *virtualHost) {
	best := -1
	for _, h := range hosts {
		if h.config != config {
			continue
		}
		for _, domain := range h.at.get("domains").items() {
			if rank := fits(strings.ToLower(domain.text()), strings.ToLower(host)); rank > best {
				best, found = rank, h
			}
		}
	}
	return found
}

// fits says how well a domain fits a host, -1 for not at all. Names are shorter than
// 1000 characters.
func fits(domain, host string) int {
	switch {
	case domain == host:
		return 3000
	case domain == "*":
		return 0
	case strings.HasPrefix(domain, "*") && len(host) >= len(domain) && strings.HasSuffix(host, domain[1:]):
		return 2000 + len(domain)
	case strings.HasSuffix(domain, "*") && len(host) >= len(domain) && strings.HasPrefix(host, domain[:len(domain)-1]):
		return 1000 + len(domain)
	default:
		return -1
	}
}

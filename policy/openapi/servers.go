package openapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"scopeward/policy"
	"scopeward/policy/pattern"
)

// maxServers bounds what the variables of one server may expand to.
const maxServers = 64

// serverTargets reads a list of servers; none is the server "/" (OpenAPI 3.1
// §4.8.1.1).
func (r *reader) serverTargets(op *Operation, list node) []server {
	if list.Node == nil || list.isSequence() && len(list.Content) == 0 {
		return []server{{}}
	}
	if !list.isSequence() {
		op.note(r.pos(list), "servers is no list")
		return nil
	}
	var servers []server
	for i := range list.Content {
		n := list.child(i)
		for _, address := range r.addresses(op, n) {
			if r.options.AnyHost {
				address = withoutHost(address)
			}
			s, why := parseServer(address, n.get("variables"))
			if why != "" {
				op.note(r.pos(n), "the server %s is left out: %s", strconv.Quote(printable(address)), why)
			} else if !slices.Contains(servers, s) {
				servers = append(servers, s)
			}
		}
	}
	return servers
}

// addresses expands the variables of a server. One without an enum could be
// anything: it is its default only.
func (r *reader) addresses(op *Operation, n node) []string {
	addresses := []string{n.get("url").text()}
	if !n.get("url").isText() {
		op.note(r.pos(n), "a server has no url")
		return nil
	}
	variables := n.get("variables")
	for i := 0; variables.isMapping() && i+1 < len(variables.Content); i += 2 {
		name, variable := variables.child(i).text(), variables.child(i+1)
		if !strings.Contains(addresses[0], "{"+name+"}") {
			continue
		}
		var values []string
		for _, value := range variable.get("enum").list() {
			values = append(values, value.text())
		}
		if len(values) == 0 && isFirstLabel(addresses[0], name) {
			continue // any label: a pattern has a wildcard for it
		}
		if len(values) == 0 {
			values = []string{variable.get("default").text()}
			op.note(r.pos(variable), "the server's variable %s can have any value: only its default %s is covered", strconv.Quote(printable(name)), strconv.Quote(printable(values[0])))
		}
		if len(addresses)*len(values) > maxServers {
			op.note(r.pos(variable), "the server has more than %d addresses: only the default of %s is covered", maxServers, strconv.Quote(printable(name)))
			values = []string{variable.get("default").text()}
		}
		var next []string
		for _, address := range addresses {
			for _, value := range values {
				next = append(next, strings.ReplaceAll(address, "{"+name+"}", value))
			}
		}
		addresses = next
	}
	return addresses
}

func (n node) list() []node {
	if !n.isSequence() {
		return nil
	}
	out := make([]node, len(n.Content))
	for i := range n.Content {
		out[i] = n.child(i)
	}
	return out
}

// withoutHost takes scheme and host off an address, whatever variables they have.
func withoutHost(address string) string {
	_, rest, found := strings.Cut(address, "://")
	if !found {
		rest, found = strings.CutPrefix(address, "//")
	}
	if !found {
		return address
	}
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		return rest[slash:]
	}
	return ""
}

// isFirstLabel reports whether a variable is the first label of the host of an address.
func isFirstLabel(address, name string) bool {
	_, rest, _ := strings.Cut(address, "//")
	domain, found := strings.CutPrefix(rest, "{"+name+"}.")
	host, _, _ := strings.Cut(domain, "/")
	return found && pattern.IsName(name) && !strings.ContainsAny(host, "{}")
}

// parseServer says why an address is no base of patterns, or gives the base.
// Patterns have neither scheme nor port.
func parseServer(address string, variables node) (s server, why string) {
	label := ""
	if _, rest, _ := strings.Cut(address, "//"); strings.HasPrefix(rest, "{") {
		if name, _, _ := strings.Cut(rest[1:], "}"); isFirstLabel(address, name) && variables.get(name).Node != nil {
			label = "{" + name + "}"
			address = strings.Replace(address, label, "x", 1)
		}
	}
	u, err := url.Parse(address)
	switch {
	case strings.ContainsAny(address, "{}"):
		return server{}, "it has a variable that is not defined"
	case err != nil:
		return server{}, "it is no address"
	case u.RawQuery != "" || u.Fragment != "":
		return server{}, "it has a query or a fragment"
	case u.Host == "" && address != "" && !strings.HasPrefix(address, "/"):
		return server{}, "it is relative to the place of the document, which is not known"
	}
	s.path = strings.TrimRight(u.EscapedPath(), "/")
	if u.Host == "" {
		return s, ""
	}
	request, err := policy.NewRequest("GET", u.Host, "/")
	if err != nil {
		return server{}, "it is no address: " + err.Error()
	}
	s.host = request.Host
	if label != "" {
		s.host = label + strings.TrimPrefix(s.host, "x")
	}
	return s, ""
}

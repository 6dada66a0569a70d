package openapi

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"scopeward/policy"
)

// target is where the requests of an operation go, as a pattern has it: the
// host, "" for all, and the segments of the path. A wildcard is "{name}".
type target struct {
	host     string
	segments []string
	slash    bool   // the path ends in a slash
	partial  string // why the pattern is wider than the operation
}

// String gives the pattern without a method.
func (t target) String() string {
	path := "/" + strings.Join(t.segments, "/")
	if t.slash {
		path = strings.TrimSuffix(path, "/") + "/{$}"
	}
	return t.host + path
}

func isWildcard(segment string) bool { return strings.HasPrefix(segment, "{") }

// pathTargets is a path without servers.
func pathTargets(path string) []target { return []target{server{}.join(path)} }

// server is the base of an operation's address.
type server struct {
	host string
	path string // without a slash at its end
}

// join gives the target of a path below the server.
func (s server) join(path string) target {
	t := target{host: s.host}
	if cut := strings.IndexAny(path, "?#"); cut >= 0 {
		path, t.partial = path[:cut], "the path has a query or a fragment, which no pattern can have"
	}
	whole := s.path + path
	t.slash = strings.HasSuffix(whole, "/")
	names := map[string]int{}
	for _, segment := range strings.Split(strings.Trim(whole, "/"), "/") {
		if !strings.ContainsAny(segment, "{}") {
			if segment != "" || strings.Trim(whole, "/") != "" {
				t.segments = append(t.segments, literal(segment))
			}
			continue
		}
		inner := strings.TrimSuffix(strings.TrimPrefix(segment, "{"), "}")
		if segment != "{"+inner+"}" || inner == "" || strings.ContainsAny(inner, "{}*+") {
			t.partial = fmt.Sprintf("%s is only a part of a segment, which no pattern can have", strconv.Quote(printable(segment)))
		}
		t.segments = append(t.segments, "{"+wildcardName(inner, names)+"}")
	}
	return t
}

// literal writes a segment in one form, as patterns are compared as text.
func literal(segment string) string {
	plain := func(r rune) bool { return r > ' ' && r <= '~' && r != '%' }
	if decoded, err := url.PathUnescape(segment); err == nil && strings.ContainsFunc(segment, func(r rune) bool { return !plain(r) }) {
		segment = url.PathEscape(decoded)
	}
	return policy.EscapeLiteral(segment)
}

// wildcardName makes a parameter's name an identifier that the pattern has once.
func wildcardName(name string, taken map[string]int) string {
	name = strings.Map(func(r rune) rune {
		if r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}, name)
	for strings.Contains(name, "__") {
		name = strings.ReplaceAll(name, "__", "_")
	}
	if strings.Trim(name, "_") == "" {
		name = "parameter"
	}
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	taken[name]++
	if n := taken[name]; n > 1 {
		return wildcardName(name+"_"+strconv.Itoa(n), taken)
	}
	return name
}

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
	for _, content := range list.Content {
		n := resolve(content)
		for _, address := range r.addresses(op, n) {
			s, why := parseServer(address)
			if r.options.AnyHost {
				s.host = ""
			}
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
		name, variable := resolve(variables.Content[i]).text(), resolve(variables.Content[i+1])
		if !strings.Contains(addresses[0], "{"+name+"}") {
			continue
		}
		var values []string
		for _, value := range variable.get("enum").list() {
			values = append(values, value.text())
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
	for i, content := range n.Content {
		out[i] = resolve(content)
	}
	return out
}

// parseServer says why an address is no base of patterns, or gives the base.
// Patterns have neither scheme nor port.
func parseServer(address string) (s server, why string) {
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
	return s, ""
}

package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// pathSpelling finds routes whose policy depends on how a client spells the path: Envoy
// compares it as it came, while Scopeward's patterns or the service behind take other
// spellings for the same.
func pathSpelling(e *subject, report reporter) {
	e.eachAsking(func(m *manager) {
		byHost := map[*node][]leaf{}
		for _, l := range m.leaves {
			byHost[l.host()] = append(byHost[l.host()], l)
		}
		for host, leaves := range byHost {
			if !e.differ(m, leaves) {
				delete(byHost, host)
			}
		}
		for _, l := range m.leaves {
			leaves := byHost[l.host()]
			// By another spelling of an open path Scopeward is asked.
			if len(leaves) == 0 || e.gap(m, l) != nil || l.answersItself() {
				continue
			}
			path := plainPath(l.route)
			if met, ok := firstTaking(leaves, l, path); !ok || met.route != l.route {
				continue // another route takes it as it is
			}
			if s, other, found := e.otherSpelling(m, leaves, l, path); found {
				report(l.route.get("match"), s.why(path, l, other, m), s.fix(l))
			}
		}
	})
}

// differ reports whether leaves have several policies, or some are open.
func (e *subject) differ(m *manager, leaves []leaf) bool {
	return slices.ContainsFunc(leaves, func(l leaf) bool {
		return l.policy(m.authz[0]) != leaves[0].policy(m.authz[0]) || e.gap(m, l) != nil
	})
}

// otherSpelling gives a spelling of a path that meets a route with another policy, or
// one that Scopeward is not asked about.
func (e *subject) otherSpelling(m *manager, leaves []leaf, l leaf, path string) (pathForm, leaf, bool) {
	for _, s := range e.pathForms(m, path) {
		other, ok := firstTaking(leaves, l, s.path)
		if !ok || other.route == l.route || other.answersItself() {
			continue
		}
		if g := e.gap(m, other); g != nil {
			if onPurpose(g, other) { // else it is a finding of routeBypass
				return s, other, true
			}
			continue
		}
		if other.policy(m.authz[0]) != l.policy(m.authz[0]) {
			return s, other, true
		}
	}
	return pathForm{}, leaf{}, false
}

// pathForm is another way to write a path that Scopeward does not refuse.
type pathForm struct {
	path string
	who  string // takes it for the same
}

func (s pathForm) why(path string, l, other leaf, m *manager) string {
	policy := func(l leaf) string {
		if name := l.policy(m.authz[0]); name != "" {
			return "the policy " + name
		}
		return "the policy without a name"
	}
	return fmt.Sprintf("%s take %s for %s, and Envoy does not: it meets the route %q, and not this one with %s, so that the client chooses by which one is decided.",
		s.who, s.path, path, match(other.route), policy(l))
}

func (s pathForm) fix(l leaf) string {
	return fmt.Sprintf("match: {prefix: %s, case_sensitive: false}    # or name the policy for the virtual host", strings.TrimRight(plainPath(l.route), "/"))
}

// pathForms gives the other ways to write a path.
func (e *subject) pathForms(m *manager, path string) []pathForm {
	bare := strings.TrimRight(path, "/")
	if bare == "" {
		return nil
	}
	const many = "Many services"
	forms := []pathForm{{bare + "/", many}, {bare, many}, {bare + ";x=1", many}, {strings.ToUpper(bare), "Services that ignore case"}}
	if e.EscapedUnreserved && !m.config.get("normalize_path").yes() {
		if i := strings.IndexFunc(bare, isUnreserved); i >= 0 {
			forms = append(forms, pathForm{fmt.Sprintf("%s%%%02X%s", bare[:i], bare[i], bare[i+1:]), "Scopeward, since a policy admits it (escaped_unreserved), and services"})
		}
	}
	if i := strings.LastIndexByte(bare, '/'); e.EncodedSlash && i > 0 {
		forms = append(forms, pathForm{bare[:i] + "%2F" + bare[i+1:], "Some services"})
	}
	var others []pathForm
	for _, f := range forms {
		if f.path != path {
			others = append(others, f)
		}
	}
	return others
}

func isUnreserved(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// plainPath gives a path that a route takes, as a client writes it.
func plainPath(route *node) string {
	m := route.get("match")
	for _, kind := range []string{"prefix", "path", "path_separated_prefix"} {
		if v := m.get(kind).text(); v != "" {
			return v
		}
	}
	if path := sample(m.get("safe_regex", "regex").text(), "x"); path != "" {
		return path
	}
	return "/"
}

// firstTaking gives the first of the leaves of a virtual host that takes a path. One with
// conditions besides the path counts as taking it only if it is the leaf's own.
func firstTaking(leaves []leaf, l leaf, path string) (leaf, bool) {
	for _, other := range leaves {
		if taken, _ := other.match.takes(path); taken && (other.route == l.route || other.match.unconditional) {
			return other, true
		}
	}
	return leaf{}, false
}

// host is the virtual host of a leaf.
func (l leaf) host() *node { return l.levels[len(l.levels)-2] }

// rawPath finds where bytes beyond ASCII get through in paths: Envoy shows ext_authz "!"
// for one that is not UTF-8, and forwards the byte. HTTP/1 refuses them, HTTP/2 does
// not (measured).
func rawPath(e *subject, report reporter) {
	e.eachAsking(func(m *manager) {
		if m.config.get("normalize_path").yes() || codec(m) == "HTTP1" || refusesRawPaths(m) {
			return
		}
		report(m.config.get("http_filters"), `HTTP/2 carries any byte in a path. For one that is not UTF-8 Envoy shows Scopeward "!", and forwards the byte: the service gets another path than the one that was allowed.`,
			`put in front of ext_authz: {name: envoy.filters.http.rbac, typed_config: {"@type": type.googleapis.com/`+rbac+`, rules: {action: DENY, policies: {raw-path: {permissions: [{header: {name: ":path", string_match: {safe_regex: {regex: "[!-~]*"}}, invert_match: true}}], principals: [{any: true}]}}}}}`)
	})
}

func codec(m *manager) string {
	return m.config.get("codec_type").enum("AUTO", "HTTP1", "HTTP2", "HTTP3")
}

// refusesRawPaths reports whether an RBAC filter denies paths with bytes beyond ASCII.
func refusesRawPaths(m *manager) bool {
	for _, f := range m.filters {
		rules := f.config.get("rules")
		if f.message != rbac || rules.get("action").enum("ALLOW", "DENY", "LOG") != "DENY" {
			continue
		}
		for _, policy := range rules.get("policies").entries() {
			if !takesAny(policy.get("principals").items()) {
				continue
			}
			for _, permission := range policy.get("permissions").items() {
				if deniesRawPaths(permission.get("header")) {
					return true
				}
			}
		}
	}
	return false
}

// deniesRawPaths reports whether a HeaderMatcher takes paths with bytes beyond ASCII,
// and no usual path.
func deniesRawPaths(matcher *node) bool {
	regex := matcher.get("string_match", "safe_regex")
	if !regex.exists() {
		regex = matcher.get("safe_regex_match")
	}
	inverted := matcher.get("invert_match").yes()
	return matcher.get("name").text() == ":path" && regex.exists() &&
		matchesRegex(regex, "/\u00ff") != inverted && matchesRegex(regex, "/a?b=c") == inverted
}

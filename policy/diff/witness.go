package diff

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"

	"scopeward/policy"
	"scopeward/policy/pattern"
)

const (
	// maxDraws bounds the requests with a token that are tried in a comparison. Each takes
	// some microseconds.
	maxDraws = 200_000

	// drawsEach bounds those for one pair of patterns.
	drawsEach = 1_000
)

// shown is an example with what it takes besides for a change to show.
type shown struct {
	example
	with    []string
	request policy.Request
	caller
}

// less prefers examples that need little besides.
func (s shown) less(other shown) bool {
	if len(s.with) != len(other.with) {
		return len(s.with) < len(other.with)
	}
	return s.example.less(other.example)
}

// caller is whoever asks. The zero value brings no token.
type caller struct {
	identity *policy.Identity // of a valid token
	bad      bool             // the token is not valid
}

// passes reports whether a match lets a caller pass. Audit mode denies nobody.
func passes(m policy.Match, c caller) bool {
	switch {
	case m.Rule() != nil && m.Rule().Audit:
		return true
	case c.identity == nil && !c.bad:
		return m.DecideNobody().Code == policy.Allowed
	default:
		return m.Decide(c.identity).Code == policy.Allowed
	}
}

// search looks for a request of a pair, and a token or none, that passes by the one
// policy and not by the other: by the new one only if opens, else by the old one. It
// looks among those that bring the facts of the cubes, and where conditions are asked,
// with what they compare.
func (c *comparison) search(x *explorer, p pair, m *meeting, known Effect, cubes []cube, opens bool) *shown {
	if known == No {
		return nil
	}
	shows := func(old, new policy.Match, c caller) bool {
		return passes(old, c) != opens && passes(new, c) == opens
	}
	for _, cube := range cubes {
		if shows(m.old, m.new, cube.caller()) {
			found := drawn{example: m.example, caller: cube.caller()}.shown()
			if !found.bad { // what the change asks for says the rest
				found.with = nil
			}
			return found
		}
	}
	s := newDrawer(x, p, m.example)
	if len(s.values) == 0 {
		return nil
	}
	for i := 0; i < drawsEach && c.draws > 0; i++ {
		c.draws--
		d, ok := s.draw(cubes)
		if ok && shows(d.old, d.new, d.caller) {
			return d.shown()
		}
	}
	return nil
}

// caller gives somebody who has a token with the scopes of a cube, and none besides; or
// no token if the cube asks for none.
func (c cube) caller() caller {
	switch {
	case len(c) == 0 || c.has(fact{kind: noToken}):
		return caller{}
	case c.has(fact{kind: badToken}):
		return caller{bad: true}
	}
	id := &policy.Identity{Claims: map[string]any{}}
	for _, f := range c {
		switch {
		case f.kind == hasScope && !f.not:
			id.Scopes = append(id.Scopes, f.key)
		case f.kind == hasACR:
			id.Claims["acr"] = f.key
		case f.kind == signedIn:
			id.Claims["auth_time"] = asked.Add(-f.age).Unix()
		}
	}
	return caller{identity: id}
}

// drawer draws requests and tokens that the conditions of a pair can tell apart. What
// it draws is the same in each run.
type drawer struct {
	x      *explorer
	pair   pair
	base   example
	values map[string]*compared
	names  []string // of values, sorted
	pool   []any    // values that anything may be compared with
	scopes []string
	random *rand.Rand
}

func newDrawer(x *explorer, p pair, base example) *drawer {
	d := &drawer{x: x, pair: p, base: base, values: map[string]*compared{}, random: rand.New(rand.NewPCG(1, 1))}
	for _, asked := range []struct {
		set     *policy.Set
		pattern *policy.Pattern
	}{{x.old, p.old}, {x.new, p.new}} {
		if asked.pattern != nil {
			d.read(asked.set, asked.pattern)
		}
	}
	for name := range d.values {
		d.names = append(d.names, name)
	}
	slices.Sort(d.names)
	return d
}

// drawn is a request with a token.
type drawn struct {
	old, new policy.Match
	caller   caller
	example  example
	request  policy.Request
}

// draw makes a request with a token; not if it would not be one of the pair.
func (d *drawer) draw(cubes []cube) (drawn, bool) {
	given := map[string]any{}
	for _, name := range d.names {
		if value, ok := d.value(name, given); ok {
			given[name] = value
		}
	}
	e := d.place(given)
	out := drawn{example: e, caller: d.caller(given, cubes)}
	r, err := e.request()
	if err != nil {
		return drawn{}, false
	}
	r.Time, r.Body = asked, body(given)
	r.Peer = policy.Peer{Principal: text(given["request.peer.principal"]), Address: text(given["request.peer.address"])}
	r.Headers, r.ClientIP = map[string]string{}, text(given["request.client_ip"])
	for name, value := range given {
		if header, ok := strings.CutPrefix(name, "request.headers"+sep); ok && header == strings.ToLower(header) {
			r.Headers[header] = text(value)
		}
	}
	old, oldErr := d.x.old.Match(d.x.name, &r)
	new, newErr := d.x.new.Match(d.x.name, &r)
	if oldErr != nil && d.pair.old != nil || newErr != nil && d.pair.new != nil || old.Pattern() != d.pair.old || new.Pattern() != d.pair.new ||
		old.ForPreflight() != d.pair.passesOld || new.ForPreflight() != d.pair.passesNew {
		return drawn{}, false
	}
	out.old, out.new, out.request = old, new, r
	return out, true
}

// value draws a value for a name: most often one that it is compared with.
func (d *drawer) value(name string, given map[string]any) (any, bool) {
	c := d.values[name]
	switch n := d.random.IntN(12); {
	case n < 5 && len(c.with) > 0:
		return c.with[d.random.IntN(len(c.with))], true
	case n < 7 && len(c.names) > 0:
		value, ok := given[c.names[d.random.IntN(len(c.names))]]
		return value, ok
	case n < 10 && len(d.pool) > 0:
		return d.pool[d.random.IntN(len(d.pool))], true
	default:
		return nil, false
	}
}

// place puts values into the path, the query, the host and the method of the example.
func (d *drawer) place(given map[string]any) example {
	e := d.base
	path, _, _ := strings.Cut(e.target, "?")
	segments := strings.Split(path, "/")
	var query []string
	for _, name := range d.names {
		value, ok := given[name]
		if !ok {
			continue
		}
		var at int
		switch {
		case name == "request.method" && e.method == d.x.method, name == "request.method" && e.method == "GET" && text(value) == "HEAD":
			e.method = cmp.Or(text(value), e.method)
		case name == "request.host" && e.host == d.x.host:
			e.host = cmp.Or(text(value), e.host)
		case name == "host[0]":
			if label, domain := pattern.Label(e.host); label == d.x.label && text(value) != "" {
				e.host = text(value) + domain
			}
		case name == "request.path" && strings.HasPrefix(text(value), "/"):
			segments = strings.Split(text(value), "/")
		case strings.HasPrefix(name, "request.query"+sep):
			query = append(query, url.QueryEscape(strings.TrimPrefix(name, "request.query"+sep))+"="+url.QueryEscape(text(value)))
		case strings.HasPrefix(name, "path["):
			rest := strings.HasSuffix(name, "...]")
			if _, err := fmt.Sscanf(name, "path[%d", &at); err != nil || at >= len(segments) {
				continue
			}
			if rest {
				segments = append(segments[:at:at], strings.Split(text(value), "/")...)
			} else if unescape(segments[at]) == d.x.segment && text(value) != "" {
				segments[at] = text(value)
			}
		}
	}
	for i, segment := range segments {
		if !strings.Contains(segment, "%2F") {
			segments[i] = url.PathEscape(unescape(segment))
		}
	}
	e.target = strings.Join(segments, "/")
	if e.form == withEscape {
		e.target = escapeFirst(e.target)
	}
	if len(query) > 0 {
		e.target += "?" + strings.Join(query, "&")
	}
	return e
}

// caller makes a token of the values, with the scopes of one of the cubes and now and
// then some more; none if that is enough.
func (d *drawer) caller(given map[string]any, cubes []cube) caller {
	id := &policy.Identity{Claims: map[string]any{}}
	if len(cubes) > 0 {
		c := cubes[d.random.IntN(len(cubes))]
		base := c.caller()
		if base.identity == nil && (len(c) > 0 || d.random.IntN(2) == 0) {
			return base
		}
		if base.identity != nil {
			id.Scopes = base.identity.Scopes
			maps.Copy(id.Claims, base.identity.Claims)
		}
	}
	for _, scope := range d.scopes {
		if d.random.IntN(4) == 0 && !slices.Contains(id.Scopes, scope) {
			id.Scopes = append(id.Scopes, scope)
		}
	}
	for _, name := range d.names {
		value, ok := given[name]
		if !ok {
			continue
		}
		switch name {
		case "identity.subject":
			id.Subject = text(value)
		case "identity.email":
			id.Email = text(value)
		case "identity.client_id":
			id.ClientID = text(value)
		case "identity.issuer":
			id.Issuer = text(value)
		case "identity.provider":
			id.Provider = text(value)
		default:
			if claim, ok := strings.CutPrefix(name, "identity.claims"+sep); ok {
				setClaim(id.Claims, strings.Split(claim, sep), value)
			}
		}
	}
	return caller{identity: id}
}

// body makes a body of the values of its members; nil if there are none.
func body(given map[string]any) *policy.Body {
	members := map[string]any{}
	for _, name := range sorted(given) {
		if member, ok := strings.CutPrefix(name, "request.json"+sep); ok {
			setClaim(members, strings.Split(member, sep), given[name])
		}
	}
	whole, any := given["request.json"]
	switch {
	case len(members) > 0:
		return policy.JSONBody(members)
	case any:
		return policy.JSONBody(whole)
	default:
		return nil
	}
}

// setClaim sets a claim within claims.
func setClaim(claims map[string]any, path []string, value any) {
	for _, name := range path[:len(path)-1] {
		inner, ok := claims[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			claims[name] = inner
		}
		claims = inner
	}
	if _, taken := claims[path[len(path)-1]].(map[string]any); !taken {
		claims[path[len(path)-1]] = value
	}
}

// shown gives the example of what was drawn, and all that it has besides.
func (d drawn) shown() *shown {
	s := &shown{example: d.example, request: d.request, caller: d.caller}
	id := d.caller.identity
	if d.caller.bad {
		s.with = append(s.with, "a token that is not valid")
	}
	if id == nil {
		return s
	}
	if len(id.Scopes) > 0 {
		s.with = append(s.with, "a token with "+scopes(id.Scopes))
	}
	for _, field := range []struct{ name, value string }{
		{"subject", id.Subject}, {"e-mail", id.Email}, {"client", id.ClientID}, {"issuer", id.Issuer}, {"provider", id.Provider},
	} {
		if field.value != "" {
			s.with = append(s.with, fmt.Sprintf("%s %q", field.name, field.value))
		}
	}
	s.with = append(s.with, claims("claim ", id.Claims)...)
	for _, name := range sorted(d.request.Headers) {
		s.with = append(s.with, fmt.Sprintf("header %s: %s", name, d.request.Headers[name]))
	}
	if d.request.Body != nil {
		s.with = append(s.with, bodyWords(d.request.Body))
	}
	for name, value := range map[string]string{"principal": d.request.Peer.Principal, "address": d.request.Peer.Address} {
		if value != "" {
			s.with = append(s.with, fmt.Sprintf("the peer's %s %q", name, value))
		}
	}
	if d.request.ClientIP != "" {
		s.with = append(s.with, "the client "+d.request.ClientIP)
	}
	return s
}

package openapi

import (
	"cmp"
	"slices"
	"strings"

	"scopeward/policy"
)

// ruleTarget reads the path of a policy's pattern. A {rest...} or a slash at
// its end becomes one wildcard more.
func ruleTarget(p *policy.Pattern) target {
	path, t := p.Path(), target{host: p.Host}
	switch {
	case strings.HasSuffix(path, "/{$}"):
		path, t.slash = strings.TrimSuffix(path, "{$}"), true
	case strings.HasSuffix(path, "/"):
		path += "{rest...}"
	}
	if trimmed := strings.Trim(path, "/"); trimmed != "" {
		t.segments = strings.Split(trimmed, "/")
	}
	return t
}

func isRest(segment string) bool {
	return strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "...}")
}

// meet gives a request that both patterns match: with the literal segments of
// both, and fresh values elsewhere. It stands for all such requests that no
// third pattern takes away.
func meet(route pattern, p *policy.Pattern) (request, bool) {
	t := ruleTarget(p)
	out := request{host: route.host}
	switch {
	case route.host == "":
		out.host = p.Host
	case p.Host != "" && p.Host != route.host:
		return request{}, false
	}
	switch compareMethods(route.method, p.Method) {
	case disjoint:
		return request{}, false
	case contains:
		out.method = p.Method
	default:
		out.method = route.method
	}
	out.method = cmp.Or(out.method, "GET")
	rest := len(t.segments) > 0 && isRest(t.segments[len(t.segments)-1])
	fixed := t.segments
	if rest {
		fixed = fixed[:len(fixed)-1]
	}
	if len(route.segments) < len(fixed) || !rest && (len(route.segments) != len(fixed) || route.slash != t.slash) {
		return request{}, false
	}
	if rest && len(route.segments) == len(fixed) && !route.slash {
		return request{}, false // /a/{rest...} is not for /a
	}
	segments := slices.Clone(route.segments)
	for i, segment := range fixed {
		switch {
		case isWildcard(segment):
		case isWildcard(segments[i]):
			segments[i] = literal(segment)
		case literal(segment) != segments[i]:
			return request{}, false
		}
	}
	out.path = target{segments: segments, slash: route.slash}.path(fresh)
	return out, true
}

// covers reports whether a pattern is for a request.
func covers(p *policy.Pattern, r request) bool {
	route := target{host: r.host, slash: strings.HasSuffix(r.path, "/")}
	if trimmed := strings.Trim(r.path, "/"); trimmed != "" {
		for segment := range strings.SplitSeq(trimmed, "/") {
			route.segments = append(route.segments, literal(segment))
		}
	}
	got, ok := meet(pattern{r.method, route}, p)
	return ok && got == r
}

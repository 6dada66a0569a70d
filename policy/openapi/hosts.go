package openapi

import "slices"

// protectHosts adds, to rules for all hosts, patterns for the hosts of others.
// http.ServeMux puts a pattern with a host before any without one, also before
// a more concrete path, where a document has the concrete path first (OpenAPI
// 3.1 §4.8.8.1) and no order of servers: without the copy, the rule of one host
// would open what another rule protects at all hosts.
func protectHosts(rules []*rule) {
	anyHost := map[string][]place{}
	var hosted []pattern
	for _, r := range rules {
		for i, p := range r.patterns {
			if p.host == "" {
				anyHost[p.shape()] = append(anyHost[p.shape()], place{r, i})
			} else {
				hosted = append(hosted, p)
			}
		}
	}
	for len(hosted) > 0 {
		rival := hosted[0]
		hosted = hosted[1:]
		for _, at := range anyHost[rival.shape()] {
			p := at.pattern()
			if !hides(rival, p) {
				continue
			}
			p.host = rival.host
			if !slices.ContainsFunc(at.rule.patterns, p.same) {
				at.rule.patterns = append(at.rule.patterns, p)
				hosted = append(hosted, p) // it hides others in its turn
			}
		}
	}
}

// hides reports whether a pattern with a host would take requests of one
// without a host that are not rightly its own, as it isn't the more specific.
func hides(hosted, anyHost pattern) bool {
	methods, paths := compareMethods(hosted.method, anyHost.method), compareSegments(hosted.segments, anyHost.segments)
	if methods == disjoint || paths == disjoint {
		return false
	}
	part := func(r relation) bool { return r == within || r == equal }
	return !part(methods) || !part(paths) || methods == equal && paths == equal
}

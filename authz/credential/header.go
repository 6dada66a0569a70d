package credential

import (
	"strings"

	"scopeward/authz/wire"
)

// hideHeaders removes the headers that hold a credential, if they are withheld, and those
// that differ from one only by underscores for hyphens, which many servers read as it.
func hideHeaders(p *Places, r *wire.Request, to *wire.Response) {
	if p.Withhold && p.Has(Bearer) && mentionsBearer(r.Header("authorization")) {
		to.Remove = append(to.Remove, "authorization")
	}
	for _, at := range p.List {
		if at.Kind != Header {
			continue
		}
		if p.Withhold {
			to.Remove = append(to.Remove, at.Name)
		}
		for _, h := range r.Headers {
			if h.Name != at.Name && strings.ReplaceAll(h.Name, "_", "-") == strings.ReplaceAll(at.Name, "_", "-") {
				to.Remove = append(to.Remove, h.Name)
			}
		}
	}
}

// mentionsBearer reports whether an Authorization header, of which Envoy may have joined
// several by commas, has a bearer token.
func mentionsBearer(authorization string) bool {
	for value := range strings.SplitSeq(authorization, ",") {
		scheme, _, _ := strings.Cut(strings.Trim(value, " \t"), " ")
		if strings.EqualFold(scheme, "Bearer") {
			return true
		}
	}
	return false
}

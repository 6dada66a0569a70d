package credential

import (
	"strings"

	"scopeward/authz/token"
	"scopeward/authz/wire"
)

// ProofHeader has the proof that a token's key is the client's (RFC 9449 §4.1).
const ProofHeader = "dpop"

// hideHeaders removes the headers that hold a credential, if they are withheld, and those
// that differ from one only by underscores for hyphens, which many servers read as it.
func hideHeaders(p *Places, r *wire.Request, to *wire.Response) {
	if p.Withhold && p.Has(Bearer) {
		if mentionsToken(r.Header("authorization")) {
			to.Remove = append(to.Remove, "authorization")
		}
		if r.Header(ProofHeader) != "" {
			to.Remove = append(to.Remove, ProofHeader)
		}
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

// mentionsToken reports whether an Authorization header, of which Envoy may have joined
// several by commas, has a token.
func mentionsToken(authorization string) bool {
	for value := range strings.SplitSeq(authorization, ",") {
		scheme, _, _ := strings.Cut(strings.Trim(value, " \t"), " ")
		if _, known := token.ReadScheme(scheme); known {
			return true
		}
	}
	return false
}

package authz

import (
	"net/netip"
	"strings"

	"scopeward/authz/wire"
	"scopeward/policy"
)

// request is what Envoy asked, in the form that the rest of the service reads.
type request struct {
	asked          wire.Request // as Envoy wrote it
	policy.Request              // canonical
}

// canonicalize makes the request of what was asked; JoinRaw has joined its headers. After
// an error the request has what could be read, for the audit.
func (r *request) canonicalize(trustedHops int) error {
	if !r.asked.HTTP {
		return &malformedRequestError{"the CheckRequest has no attributes.request.http; is this an Envoy HTTP filter?"}
	}
	if id := r.asked.Header("x-request-id"); id != "" {
		r.asked.ID = id
	}
	var err error
	r.Request, err = policy.NewRequest(r.asked.Method, r.asked.Host, r.asked.Path)
	if err != nil {
		r.Method, r.Host = r.asked.Method, r.asked.Host
	}
	r.ClientIP = r.asked.Peer
	if trustedHops > 0 {
		r.ClientIP = clientIP(r.asked.Peer, r.asked.Header("x-forwarded-for"), trustedHops)
	}
	return err
}

// headerMap is what conditions see: all headers but the token.
func (r *request) headerMap() map[string]string {
	m := make(map[string]string, len(r.asked.Headers))
	for _, h := range r.asked.Headers {
		m[h.Name] = h.Value
	}
	delete(m, "authorization")
	return m
}

// find finds the rule that is about the request.
func (r *request) find(set *policy.Set) (policy.Match, error) {
	match, err := set.Match(r.asked.Policy, &r.Request)
	if r.Headers == nil && match.Uses("request.headers") {
		r.Headers = r.headerMap()
	}
	return match, err
}

// rawPath is for the audit of a path that was refused: without its query.
func (r *request) rawPath() string {
	path, _, _ := strings.Cut(r.asked.Path, "?")
	return path
}

// clientIP is the downstream address that Envoy reports, or, behind
// trustedHops proxies that append to X-Forwarded-For, the address that the
// outermost of them saw. What lies further left in the header is the client's
// own word and never counts.
func clientIP(downstream, forwardedFor string, trustedHops int) string {
	if trustedHops <= 0 || forwardedFor == "" {
		return downstream
	}
	hops := strings.Split(forwardedFor, ",")
	for i := range hops {
		hops[i] = strings.TrimSpace(hops[i])
	}
	// With use_remote_address Envoy has appended the downstream address itself.
	if n := len(hops); n > 1 && hops[n-1] == downstream {
		hops = hops[:n-1]
	}
	if len(hops) < trustedHops {
		return downstream
	}
	client, err := netip.ParseAddr(hops[len(hops)-trustedHops])
	if err != nil {
		return downstream
	}
	return client.String()
}

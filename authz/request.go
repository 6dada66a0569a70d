package authz

import (
	"strings"

	"scopeward/authz/credential"
	"scopeward/authz/wire"
	"scopeward/policy"
)

// request is what Envoy asked, in the form that the rest of the service reads.
type request struct {
	asked          wire.Request // as Envoy wrote it
	policy.Request              // canonical; ClientIP is empty where nobody knows the client
	unsatisfied    unsatisfied
}

// canonicalize makes the request of what was asked; JoinRaw has joined its headers. After
// an error the request has what could be read, for the audit.
func (r *request) canonicalize(hops Hops, credentials *credential.Places) error {
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
	r.Peer.Principal = r.asked.Principal
	r.Query = credentials.Query(&r.asked, r.Query)
	r.Preflight = policy.Preflight(r.Method, r.asked.Header)
	if strings.Contains(r.asked.Peer, ":") { // IPv4 addresses have one spelling
		r.asked.Peer = canonicalAddress(r.asked.Peer)
	}
	r.Peer.Address = r.asked.Peer
	r.ClientIP, r.unsatisfied = r.asked.Peer, satisfied
	if hops.Trusted > 0 {
		r.ClientIP, r.unsatisfied = hops.client(r.asked.Peer, r.asked.Header("x-forwarded-for"))
	}
	return err
}

// charged is the address that the rate limit counts: the client's, or that of the
// connection where the client's is not known.
func (r *request) charged() string {
	if r.ClientIP == "" {
		return r.asked.Peer
	}
	return r.ClientIP
}

// find finds the rule that is about the request. Its conditions see no credential.
func (r *request) find(set *policy.Set, credentials *credential.Places) (policy.Match, error) {
	match, err := set.Match(r.asked.Policy, &r.Request)
	if r.Headers == nil && match.Uses("request.headers") {
		r.Headers = credentials.Hidden(&r.asked)
	}
	if r.Body == nil && match.Uses("request.json") {
		r.Body = bodyOf(&r.asked)
	}
	return match, err
}

// bodyOf is the body that Envoy has sent along. Envoy lets no client write the header that
// says whether it is whole.
func bodyOf(asked *wire.Request) *policy.Body {
	switch partial := asked.Header("x-envoy-auth-partial-body"); {
	case partial != "" && partial != "false":
		return policy.BrokenBody("Envoy has sent its beginning only (x-envoy-auth-partial-body)")
	case asked.Body != "" && asked.RawBody != "":
		return policy.BrokenBody("there are two of it")
	}
	return policy.NewBody(asked.Body+asked.RawBody, asked.Header)
}

// rawPath is for the audit of a path that was refused: without its query.
func (r *request) rawPath() string {
	path, _, _ := strings.Cut(r.asked.Path, "?")
	return path
}

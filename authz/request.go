package authz

import (
	"net/netip"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"scopeward/policy"
)

// request is what Envoy asked, in the form that the rest of the service reads.
type request struct {
	policy.Request
	policyName    string // context_extensions: policy
	authorization string // several headers joined by commas, as Envoy does
	id            string // x-request-id
	rawPath       string // for the audit when the path is refused; no query
}

// newRequest reads a CheckRequest (Envoy's AttributeContext). On an error it
// returns what it could read, for the audit.
func newRequest(in *authv3.CheckRequest, trustedHops int) (request, error) {
	attributes := in.GetAttributes()
	http := attributes.GetRequest().GetHttp()
	if http == nil {
		return request{}, &malformedRequestError{"the CheckRequest has no attributes.request.http; is this an Envoy HTTP filter?"}
	}
	headers := headerMap(http)
	r := request{
		policyName:    attributes.GetContextExtensions()["policy"],
		authorization: headers["authorization"],
		id:            headers["x-request-id"],
		rawPath:       withoutQuery(http.GetPath()),
	}
	if r.id == "" {
		r.id = http.GetId()
	}
	// No condition has business with the token itself.
	delete(headers, "authorization")
	var err error
	r.Request, err = policy.NewRequest(http.GetMethod(), http.GetHost(), http.GetPath())
	r.Headers = headers
	r.ClientIP = clientIP(attributes.GetSource().GetAddress().GetSocketAddress().GetAddress(), headers["x-forwarded-for"], trustedHops)
	if err != nil {
		r.Method, r.Host = http.GetMethod(), http.GetHost()
		return r, err
	}
	return r, nil
}

// headerMap returns the headers by lower-case name. Envoy sends them as a map
// already, or one by one if encode_raw_headers is set; then several of a name
// are joined by commas, as in the map.
func headerMap(http *authv3.AttributeContext_HttpRequest) map[string]string {
	raw := http.GetHeaderMap().GetHeaders()
	if len(raw) == 0 {
		return http.GetHeaders()
	}
	headers := make(map[string]string, len(raw))
	for _, h := range raw {
		name, value := strings.ToLower(h.GetKey()), h.GetValue()
		if value == "" {
			value = strings.ToValidUTF8(string(h.GetRawValue()), "\uFFFD")
		}
		if before, ok := headers[name]; ok {
			value = before + "," + value
		}
		headers[name] = value
	}
	return headers
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

func withoutQuery(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}

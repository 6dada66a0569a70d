package authz

import (
	"net/netip"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"scopeward/policy"
)

// attributes are what Scopeward reads of a CheckRequest (Envoy's
// AttributeContext): all else is of no account.
type attributes struct {
	http               bool // whether there is an HTTP request at all
	method, path, host string
	id                 string
	headers            []header // by lower-case name; of one name the last counts
	rawHeaders         []header // encode_raw_headers: as they came; if any, instead of headers
	peer               string   // the downstream address; "" for a Unix socket
	policy             string   // context_extensions: policy
}

type header struct{ name, value string }

// readMessage reads a CheckRequest that has been decoded by the generated code.
func (a *attributes) readMessage(in *authv3.CheckRequest) {
	context := in.GetAttributes()
	http := context.GetRequest().GetHttp()
	a.http = http != nil
	a.method, a.path, a.host, a.id = http.GetMethod(), http.GetPath(), http.GetHost(), http.GetId()
	for name, value := range http.GetHeaders() {
		a.headers = append(a.headers, header{name, value})
	}
	for _, h := range http.GetHeaderMap().GetHeaders() {
		a.rawHeaders = append(a.rawHeaders, rawHeader(h.GetKey(), h.GetValue(), h.GetRawValue()))
	}
	a.peer = context.GetSource().GetAddress().GetSocketAddress().GetAddress()
	a.policy = context.GetContextExtensions()["policy"]
}

// rawHeader is a header of encode_raw_headers, whose value is in either of two
// fields.
func rawHeader(name, value string, raw []byte) header {
	if value == "" {
		value = strings.ToValidUTF8(string(raw), "\uFFFD")
	}
	return header{strings.ToLower(name), value}
}

// reset makes a fresh one, which keeps its memory.
func (a *attributes) reset() {
	clear(a.headers)
	clear(a.rawHeaders)
	*a = attributes{headers: a.headers[:0], rawHeaders: a.rawHeaders[:0]}
}

// joinRaw joins headers of one name by commas, as Envoy does without
// encode_raw_headers.
func (a *attributes) joinRaw() {
	if len(a.rawHeaders) == 0 {
		return
	}
	places := map[string]int{}
	a.headers = a.headers[:0]
	for _, h := range a.rawHeaders {
		if i, ok := places[h.name]; ok {
			a.headers[i].value += "," + h.value
			continue
		}
		places[h.name] = len(a.headers)
		a.headers = append(a.headers, h)
	}
}

// header returns the value of a header, "" if there is none.
func (a *attributes) header(name string) string {
	for i := len(a.headers) - 1; i >= 0; i-- {
		if a.headers[i].name == name {
			return a.headers[i].value
		}
	}
	return ""
}

// headerMap is what conditions see: all headers but the token.
func (a *attributes) headerMap() map[string]string {
	m := make(map[string]string, len(a.headers))
	for _, h := range a.headers {
		m[h.name] = h.value
	}
	delete(m, "authorization")
	return m
}

// request is what Envoy asked, in the form that the rest of the service reads.
type request struct {
	attributes
	policy.Request // canonical
}

// canonicalize makes the request of the attributes, of which joinRaw has joined the headers. After an error the request
// has what could be read, for the audit.
func (r *request) canonicalize(trustedHops int) error {
	if !r.http {
		return &malformedRequestError{"the CheckRequest has no attributes.request.http; is this an Envoy HTTP filter?"}
	}
	if id := r.header("x-request-id"); id != "" {
		r.id = id
	}
	var err error
	r.Request, err = policy.NewRequest(r.method, r.host, r.path)
	if err != nil {
		r.Method, r.Host = r.method, r.host
	}
	r.ClientIP = r.peer
	if trustedHops > 0 {
		r.ClientIP = clientIP(r.peer, r.header("x-forwarded-for"), trustedHops)
	}
	return err
}

// find finds the rule that is about the request.
func (r *request) find(set *policy.Set) (policy.Match, error) {
	match, err := set.Match(r.attributes.policy, &r.Request)
	if r.Headers == nil && match.Uses("request.headers") {
		r.Headers = r.headerMap()
	}
	return match, err
}

// rawPath is for the audit of a path that was refused: without its query.
func (r *request) rawPath() string {
	path, _, _ := strings.Cut(r.path, "?")
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

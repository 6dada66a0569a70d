// Package config reads scopeward.yaml and what it names, and resolves it once: defaults,
// environment variables, paths and secrets. Where a setting stands in the file stays in
// this package; the rest of the program sees plain values and errors with a position.
package config

import (
	"time"

	"scopeward/authz"
	"scopeward/authz/answer"
	"scopeward/authz/credential"
	"scopeward/internal/strictyaml"
)

// document is scopeward.yaml. Every duration is a Go duration string (30s, 5m);
// relative paths are relative to the file; ${NAME} stands for an environment
// variable. The tags are read by strictyaml, and for the JSON Schema, with what
// schema.go adds.
type document struct {
	Listen            listenSection                                                `yaml:"listen" doc:"Where the service listens."`
	Admin             adminSection                                                 `yaml:"admin" doc:"Who may use the admin listener."`
	Providers         []strictyaml.Located[providerSection]                        `yaml:"providers" doc:"The identity providers. A JWT goes to the one of its iss, another token to the one that takes opaque tokens; tokens, prefixes, audiences and clients tell apart those that share an issuer."`
	Cache             cacheSection                                                 `yaml:"cache" doc:"The bounds of the identity cache."`
	RateLimit         rateLimitSection                                             `yaml:"rate_limit" doc:"What one client address may cost."`
	Credentials       *strictyaml.Located[[]strictyaml.Located[credentialSection]] `yaml:"credentials" default:"[bearer]" doc:"Where a request may have its credential: bearer (Authorization: Bearer), or a header, a cookie, a parameter of the query or a WebSocket subprotocol. Two different ones in a request are refused. Those of cookies, queries and subprotocols never go upstream." examples:"[[bearer, {cookie: __Host-access_token, origins: ['https://app.acme.dev']}]]"`
	ForwardCredential *strictyaml.Located[bool]                                    `yaml:"forward_credential" default:"true" doc:"Whether the credential of Authorization or of another header goes upstream. false: an allowed request goes without it."`
	DPoP              *strictyaml.Located[dpopSection]                             `yaml:"dpop" doc:"How proofs of a client's key are checked (DPoP, RFC 9449), for tokens that are bound to one. They work without this key. Challenges offer DPoP to every client where nonce or a provider's binding: required asks for it, else to those whose token needs it."`
	Headers           map[string]located                                           `yaml:"headers" doc:"The headers that an allowed request carries to the service behind, each with a field of the identity. A client's own copies never pass." examples:"[{x-auth-subject: identity.subject, x-auth-scopes: identity.scopes, x-auth-org: identity.claims.org_code}]"`
	Answers           []strictyaml.Located[answerSection]                          `yaml:"answers" doc:"What a client gets instead of JSON when it is denied: the first entry that fits answers. gRPC requests ignore them." examples:"[[{codes: [missing_token, invalid_token], accept: text/html, redirect: 'https://login.acme.dev/?return_to={url}'}]]"`
	IdentityToken     *strictyaml.Located[identityTokenSection]                    `yaml:"identity_token" doc:"A signed token (JWT) of who asks, in a header of each allowed request with an identity, for services that verify it themselves. A client's own copies of the header never pass."`
	Realm             located                                                      `yaml:"realm" default:"api" doc:"The realm in challenges (WWW-Authenticate), printable ASCII."`
	Resource          strictyaml.OneOrMore[strictyaml.Located[resourceSection]]    `yaml:"resource" doc:"What is published of the API, so that clients find out where to get a token (RFC 9728): its metadata, at /.well-known/oauth-protected-resource. Of several, a challenge names the one whose host and path fit the request."`
	ResourceMetadata  located                                                      `yaml:"resource_metadata" doc:"The URL of the protected resource's metadata (RFC 9728), in challenges; by default that of resource, and only for a document that is served elsewhere." examples:"['https://api.acme.dev/.well-known/oauth-protected-resource']"`
	Policy            strictyaml.OneOrMore[located]                                `yaml:"policy" doc:"The policy files, or directories of them; --policy replaces them." examples:"[[policy.yaml]]"`
	Shadow            strictyaml.OneOrMore[located]                                `yaml:"shadow" doc:"Policy files that are decided beside the real ones: where they differ is recorded, and never enforced." examples:"[[new.yaml]]"`
	Revoked           strictyaml.OneOrMore[located]                                `yaml:"revoked" doc:"Files of tokens that are refused although they have not expired, as scopeward revoke writes them; read again when they change." examples:"[[revoked.yaml]]"`
	Audit             auditSection                                                 `yaml:"audit" doc:"The audit: an event for each decision."`
	Log               logSection                                                   `yaml:"log" doc:"The service's own log, on standard error."`

	file        string            // where it was read, for messages; "" without a file
	headers     []authz.Header    // compiled from Headers
	sharing     Sharing           // of Cache and RateLimit
	credentials credential.Places // compiled from Credentials
	answers     answer.List       // compiled from Answers
	bodies      string            // a digest of the files that Answers names
	signed      signedIdentity    // compiled from IdentityToken
}

// Stranger recognises a policy.
func (*document) Stranger(has func(key string) bool) string {
	if has("rules") && !has("providers") {
		return "this is a policy, not a configuration: give it by --policy"
	}
	return ""
}

// listenSection says where the service listens.
type listenSection struct {
	GRPC           located                            `yaml:"grpc" default:"127.0.0.1:9191" doc:"The address that Envoy asks: host:port, or unix:///path." examples:"['0.0.0.0:9191', 'unix:///run/scopeward/authz.sock']"`
	Admin          *located                           `yaml:"admin" default:"127.0.0.1:9192" doc:"The address of the page, /healthz, /readyz, /metrics and /config, host:port; \"\" turns it off. An address beyond this machine needs admin.allow_remote."`
	TLS            *strictyaml.Located[tlsSection]    `yaml:"tls" doc:"TLS on the gRPC listener; plaintext without it. The files are read again when they change, for new connections."`
	Drain          *strictyaml.Located[time.Duration] `yaml:"drain" doc:"How long the service takes requests after it was told to end, at most 10m. By default until everybody on whose connection it was asked for its health has learned that it ends: a few seconds, at most 7s." examples:"[10s]"`
	MaxConnections *strictyaml.Located[int]           `yaml:"max_connections" default:"1024" doc:"How many connections the gRPC listener has at most; a peer address has at most three quarters of them. One that is too many takes the place of one that has been silent for a second, or is closed at once."`
	StartPatience  *strictyaml.Located[time.Duration] `yaml:"start_patience" default:"60s" doc:"How long a new process stays unready while a provider with keys has given none, at most 10m. Then it serves without them."`
	Server         located                            `yaml:"server" default:"native" doc:"What serves the gRPC listener: native answers most checks where it reads them, at about half the cost; grpc-go is the general gRPC server, with the same answers."`
	TrustXFCC      *strictyaml.Located[bool]          `yaml:"trust_xfcc" default:"false" doc:"Whether the last element of x-forwarded-client-cert tells the client's certificate, for tokens that are bound to one (RFC 8705). Only where Envoy writes it anew (forward_client_cert_details: SANITIZE_SET): else a client chooses it. Without it, the certificate is that of the connection (include_peer_certificate)."`
	Socket         *strictyaml.Located[socketSection] `yaml:"socket" doc:"Who may connect to a Unix socket: by its mode and owner."`
}

// dpopSection says how proofs are checked.
type dpopSection struct {
	MaxAge *strictyaml.Located[time.Duration] `yaml:"max_age" default:"60s" doc:"How old a proof may be, from 5s to 10m; that it is used once is remembered for as long. A clock of a client may be 30s fast."`
	Nonce  *strictyaml.Located[bool]          `yaml:"nonce" default:"false" doc:"Whether a proof needs a nonce of this service's: a client gets it with 401 use_dpop_nonce, and asks again. Replicas take each other's where they have the same cache.key."`
}

// adminSection says who may use the admin listener, which asks nobody who they are.
type adminSection struct {
	AllowRemote bool      `yaml:"allow_remote" default:"false" doc:"Allows listen.admin to be an address that other machines reach: a firewall or network policy must keep out whoever may not see the page."`
	Hosts       []located `yaml:"hosts" doc:"The DNS names by which the page may be opened, without port; IP addresses and localhost always count. Others are refused, lest a web site that lets its name lead here (DNS rebinding) reads the page." examples:"[[scopeward.internal.example]]"`
}

// socketSection says who may connect to a Unix socket. The system asks for the right to
// write.
type socketSection struct {
	Mode  located `yaml:"mode" doc:"The permissions, octal, in quotes; by default 0660: its user and group may connect." examples:"['0660', '0666']"`
	Owner located `yaml:"owner" doc:"Whom it belongs to: user:group, user or :group, by names or numbers; by default the user and group of the process." examples:"['scopeward:envoy', ':101']"`
}

// tlsSection is the gRPC listener's. With a client CA it is mutual: who has no
// certificate of it is refused in the handshake. The service's own certificate
// passes as a client's too, for healthcheck: who has its key can be the service
// itself.
type tlsSection struct {
	Cert        located   `yaml:"cert" doc:"The file with the certificate and its intermediates, PEM." examples:"[tls.crt]"`
	Key         located   `yaml:"key" doc:"The file with the certificate's private key, PEM." examples:"[tls.key]"`
	ClientCA    located   `yaml:"client_ca" doc:"The file with the CAs (PEM) of which a client must have a certificate; without it none is asked for." examples:"[ca.crt]"`
	ClientNames []located `yaml:"client_names" doc:"The clients that may connect, by a DNS name or a URI (SPIFFE ID) in the certificate's subjectAltName, compared exactly; by default any with a certificate of client_ca." examples:"[['spiffe://cluster.local/ns/istio-system/sa/gateway', envoy.example.com]]"`
}

// providerSection is an identity provider. A token goes to the one that its issuer
// names; a token that is no JWT to the one that takes opaque tokens.
type providerSection struct {
	Name          located                         `yaml:"name" doc:"The name in metrics and audit events." examples:"[kinde]"`
	Preset        located                         `yaml:"preset" doc:"Gives defaults for the keys below that fit a known provider; each can be overridden. docs/providers has a page for each." examples:"[keycloak]"`
	Issuer        strictyaml.OneOrMore[located]   `yaml:"issuer" doc:"The iss of its tokens, to the last slash; one or a list. {claim} stands for one path segment, which must equal that claim: see tenants." examples:"['https://acme.kinde.com']"`
	Tenants       strictyaml.OneOrMore[located]   `yaml:"tenants" doc:"What the placeholder of issuer may stand for: a list of values, or any." examples:"[any, [11111111-2222-3333-4444-555555555555]]"`
	Discovery     located                         `yaml:"discovery" default:"auto" doc:"Where endpoints are that are not written. auto: where the issuer's metadata say (OpenID Connect Discovery, RFC 8414), else at Kinde's paths. off: all that are needed are written."`
	Validation    located                         `yaml:"validation" default:"jwks" doc:"How a token is validated. jwks: by the provider's keys. profile: by its user profile. jwks+profile: by both. introspection: by RFC 7662. jwks+introspection: by the keys, then by introspection, which knows of revocation. lookup: by an endpoint of any other form. api_keys: by a file of keys of your own."`
	Audiences     []text                          `yaml:"audiences" doc:"The audiences of your API: any one must be in the token's aud. With keys, audiences or clients are required." examples:"[['https://api.acme.dev']]"`
	Algorithms    []located                       `yaml:"algorithms" default:"[RS256]" doc:"The signature algorithms that count, asymmetric ones only."`
	ClockSkew     *time.Duration                  `yaml:"clock_skew" default:"30s" doc:"By how much the provider's clock may differ, from 0s to 10m."`
	Timeout       *time.Duration                  `yaml:"timeout" default:"2s" doc:"The limit of one request to the provider."`
	ScopeClaims   []strictyaml.OneOrMore[located] `yaml:"scope_claims" default:"[scope, scp]" doc:"Where the scopes stand: names of claims, or JSON Pointers (RFC 6901); the first that is present counts. A list in the list is joined. A string is split at spaces, an array has a scope in each element, an object in each member that is not false or null. What is no scope is left out." examples:"[[scope, scp], ['/realm_access/roles'], [[scp, roles], scope]]"`
	Clients       []located                       `yaml:"clients" doc:"The clients whose tokens count: each of azp, client_id, appid and cid that is there must be one of these, and one must be there. With keys, audiences or clients are required; given both, both must hold." examples:"[[0123abcd]]"`
	SubjectPrefix located                         `yaml:"subject_prefix" doc:"What sub must begin with; it ends in / or :. With it a token may lack iss (SPIFFE)." examples:"['spiffe://acme.example/']"`
	Tokens        located                         `yaml:"tokens" doc:"Which credentials come here: jwt, opaque or any. By default jwt with keys, opaque with lookup and api_keys, else any."`
	Prefixes      []located                       `yaml:"prefixes" doc:"Only credentials with one of these prefixes come here, and come here before other providers." examples:"[[ya29.]]"`
	Opaque        *bool                           `yaml:"opaque" doc:"An older spelling of tokens: true is any, false is jwt."`
	Binding       located                         `yaml:"binding" default:"optional" doc:"Whether a token must be bound to a key (DPoP) or a certificate (mutual TLS) of its client. optional: it may be, and then the client must show it. required: mere bearer tokens are refused."`
	Purpose       located                         `yaml:"purpose" default:"access" doc:"Which tokens count. access: ID tokens are refused. any: ID tokens count, too, and access tokens that look like them. Refresh tokens are always refused."`
	Email         located                         `yaml:"email" default:"unless_unverified" doc:"Which e-mail address becomes identity.email. verified: one of which the provider says so (email_verified: true). unless_unverified: unless it says that it is not. any: each."`
	MaxTokenBytes *strictyaml.Located[int]        `yaml:"max_token_bytes" default:"49152" doc:"The length of the longest token that it takes, in bytes, from 1024 to 262144. Envoy takes 60 KiB of headers by default (max_request_headers_kb)."`
	CA            located                         `yaml:"ca" doc:"The file with the CAs (PEM) that the provider's certificates must come from, instead of those of the system; of an https:// proxy too." examples:"[corp-ca.crt]"`
	Insecure      bool                            `yaml:"insecure" default:"false" doc:"Allows http:// URLs beyond this machine."`
	JWKS          jwksEndpoint                    `yaml:"jwks" doc:"Where the provider's keys are, for the validations with jwks."`
	Profile       profileEndpoint                 `yaml:"profile" doc:"The user-profile endpoint, for validation profile and jwks+profile."`
	APIKeys       apiKeysSection                  `yaml:"api_keys" doc:"The keys of your own, for validation api_keys."`
	Introspection introspectEndpoint              `yaml:"introspection" doc:"The introspection endpoint (RFC 7662), for validation introspection and jwks+introspection."`
	Lookup        lookupSection                   `yaml:"lookup" doc:"The endpoint for validation lookup: it is asked about each credential in a form that you write, and you write what its answer means."`
}

// jwksEndpoint is where a provider's keys are: a URL or a file.
type jwksEndpoint struct {
	URL      strictyaml.OneOrMore[located]      `yaml:"url" doc:"Where the keys are fetched, one URL or a list, whose keys count together; by default where the issuer's metadata say (jwks_uri), else the issuer and /.well-known/jwks." examples:"['https://acme.kinde.com/.well-known/jwks']"`
	File     located                            `yaml:"file" doc:"The file with the keys, instead of a URL." examples:"[jwks.json]"`
	Token    strictyaml.Located[Secret]         `yaml:"token" doc:"The bearer token that the keys are fetched with, as file:PATH, which is read each time, or ${NAME}." examples:"['file:/var/run/secrets/kubernetes.io/serviceaccount/token']"`
	Use      []located                          `yaml:"use" default:"[sig]" doc:"The values of a key's use that count; a key without use counts." examples:"[[sig, jwt-svid]]"`
	Refresh  *strictyaml.Located[time.Duration] `yaml:"refresh" default:"15m" doc:"The time between two fetches; not longer than max_stale."`
	MaxStale *strictyaml.Located[time.Duration] `yaml:"max_stale" default:"24h" doc:"How long the last good keys serve while the provider fails."`
}

// profileEndpoint is the user-profile lookup of a provider.
type profileEndpoint struct {
	URL located `yaml:"url" doc:"Where a token's profile is fetched; by default where the issuer's metadata say (userinfo_endpoint), else the issuer and /oauth2/v2/user_profile." examples:"['https://acme.kinde.com/oauth2/v2/user_profile']"`
}

// cacheSection bounds the identity cache.
type cacheSection struct {
	TTL         *strictyaml.Located[time.Duration] `yaml:"ttl" default:"5m" doc:"How long a valid token is believed, never beyond its exp."`
	NegativeTTL *strictyaml.Located[time.Duration] `yaml:"negative_ttl" default:"10s" doc:"How long an invalid token is refused without asking; 0s not at all."`
	MaxStale    *strictyaml.Located[time.Duration] `yaml:"max_stale" default:"0s" doc:"How long after ttl a valid token is still believed while its provider can't be asked, at most 24h, never beyond its exp, nor once the provider refuses it; 0s not at all. A token that is revoked meanwhile goes on for as long."`
	MaxEntries  *strictyaml.Located[int]           `yaml:"max_entries" default:"100000" doc:"How many tokens it holds."`
	MaxBytes    *strictyaml.Located[byteSize]      `yaml:"max_bytes" doc:"How much memory cached tokens and the counters of the rate limit may take, as in 64MiB, at least 1MiB; by default two fifths of the memory limit (GOMEMLIMIT, or nine tenths of the container's), or of half the machine's memory without one." examples:"[64MiB]"`
	Redis       strictyaml.Located[Secret]         `yaml:"redis" doc:"The Redis in which replicas share valid tokens' identities: a redis://, rediss:// or unix:// URL, as file:PATH or with ${NAME}. Several hosts are Sentinels (?master_name=NAME) or nodes of a Cluster (?cluster=true)." examples:"['redis://127.0.0.1:6379', 'rediss://scopeward:${REDIS_PASSWORD}@redis.example:6379/0', 'file:redis.url']"`
	Key         strictyaml.Located[Secret]         `yaml:"key" doc:"The key by which identities in Redis are encrypted and authenticated, at least 32 bytes, as file:PATH or ${NAME}. Without it, whoever can write to Redis can forge identities. With dpop.nonce, nonces are made by it, also without Redis." examples:"['file:cache.key', '${CACHE_KEY}']"`
}

// rateLimitSection bounds the token validations of one client IP.
type rateLimitSection struct {
	Max          *strictyaml.Located[int]           `yaml:"max" default:"100" doc:"How many may be in one window."`
	Window       *strictyaml.Located[time.Duration] `yaml:"window" default:"15m" doc:"The length of a window, at least 1s."`
	Count        located                            `yaml:"count" default:"validations" doc:"What counts. validations: credentials that are refused, and requests to a provider. requests: each request that needs a token. off: nothing."`
	TrustedHops  strictyaml.Located[int]            `yaml:"trusted_hops" default:"0" doc:"How many proxies in front of Envoy append to X-Forwarded-For. Where its entries are fewer, or don't tell an address, conditions on request.client_ip deny, and the limit counts whoever connected to Envoy."`
	EnvoyAppends located                            `yaml:"envoy_appends" default:"auto" doc:"Whether Envoy appends the last entry of X-Forwarded-For, for trusted_hops. auto: where that entry is the address that connected to Envoy; behind a proxy on loopback, nobody is known. always: with use_remote_address. never: without it, or with skip_xff_append."`
	Redis        strictyaml.Located[Secret]         `yaml:"redis" doc:"The Redis in which replicas count together: a URL as in cache.redis." examples:"['redis://127.0.0.1:6379']"`
}

// resourceSection is what is published of the API.
type resourceSection struct {
	Identifier    located `yaml:"identifier" doc:"The URL by which clients call the API, with a path where only that is the API." examples:"['https://api.acme.dev', 'https://acme.dev/api']"`
	Name          located `yaml:"name" doc:"A name of the API for people." examples:"[Acme API]"`
	Documentation located `yaml:"documentation" doc:"The URL of a page for who wants to use the API." examples:"['https://docs.acme.dev']"`
}

// auditSection says where audit events go, and which are written.
type auditSection struct {
	To     located                      `yaml:"to" default:"stdout" doc:"Where events are written. stdout: to standard output. file:PATH: to the end of a file, which is opened again on SIGHUP, for who rotates logs. off: nowhere." examples:"['file:/var/log/scopeward/audit.log']"`
	Sample *strictyaml.Located[float64] `yaml:"sample" default:"1" doc:"The share of the requests that were let through which get an event, from 0 to 1; such an event says so by its sample. All others get theirs: denials, and what a rule with mode: audit or the shadow policy would have denied." examples:"[0.01]"`
}

// logSection is the service's own log, on standard error.
type logSection struct {
	Level  located `yaml:"level" default:"info" doc:"The least severity that is logged."`
	Format located `yaml:"format" default:"json" doc:"json, or text for people."`
}

type located = strictyaml.Located[text]

// text is a string in which ${NAME} stands for an environment variable.
type text string

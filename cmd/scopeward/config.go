package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"scopeward/authz"
	"scopeward/internal/strictyaml"
)

// Config is scopeward.yaml. Every duration is a Go duration string (30s, 5m);
// relative paths are relative to the file; ${NAME} stands for an environment
// variable. The tags are read by strictyaml, and for the JSON Schema, with what
// schema.go adds.
type Config struct {
	Listen           Listen                         `yaml:"listen" doc:"Where the service listens."`
	Admin            Admin                          `yaml:"admin" doc:"Who may use the admin listener."`
	Providers        []strictyaml.Located[Provider] `yaml:"providers" doc:"The identity providers. A JWT goes to the one of its iss, another token to the one with opaque: true."`
	Cache            Cache                          `yaml:"cache" doc:"The bounds of the identity cache."`
	RateLimit        RateLimit                      `yaml:"rate_limit" doc:"How many tokens of one client IP are validated."`
	Headers          map[string]located             `yaml:"headers" doc:"The headers that an allowed request carries to the service behind, each with a field of the identity. A client's own copies never pass." examples:"[{x-auth-subject: identity.subject, x-auth-scopes: identity.scopes, x-auth-org: identity.claims.org_code}]"`
	Realm            located                        `yaml:"realm" default:"api" doc:"The realm in challenges (WWW-Authenticate), printable ASCII."`
	Resource         *strictyaml.Located[Resource]  `yaml:"resource" doc:"What is published of the API, so that clients find out where to get a token (RFC 9728): its metadata, at /.well-known/oauth-protected-resource."`
	ResourceMetadata located                        `yaml:"resource_metadata" doc:"The URL of the protected resource's metadata (RFC 9728), in challenges; by default that of resource, and only for a document that is served elsewhere." examples:"['https://api.acme.dev/.well-known/oauth-protected-resource']"`
	Policy           strictyaml.OneOrMore[located]  `yaml:"policy" doc:"The policy files, or directories of them; --policy replaces them." examples:"[[policy.yaml]]"`
	Shadow           strictyaml.OneOrMore[located]  `yaml:"shadow" doc:"Policy files that are decided beside the real ones: where they differ is recorded, and never enforced." examples:"[[new.yaml]]"`
	Audit            Audit                          `yaml:"audit" doc:"The audit: an event for each decision."`
	Log              Log                            `yaml:"log" doc:"The service's own log, on standard error."`

	file    string         // where it was read, for messages; "" without a file
	headers []authz.Header // compiled from Headers
}

// Listen says where the service listens.
type Listen struct {
	GRPC   located                            `yaml:"grpc" default:"127.0.0.1:9191" doc:"The address that Envoy asks: host:port, or unix:///path." examples:"['0.0.0.0:9191', 'unix:///run/scopeward/authz.sock']"`
	Admin  *located                           `yaml:"admin" default:"127.0.0.1:9192" doc:"The address of the page, /healthz, /readyz, /metrics and /config, host:port; \"\" turns it off. An address beyond this machine needs admin.allow_remote."`
	TLS    *strictyaml.Located[TLS]           `yaml:"tls" doc:"TLS on the gRPC listener; plaintext without it. The files are read again when they change, for new connections."`
	Drain  *strictyaml.Located[time.Duration] `yaml:"drain" doc:"How long the service takes requests after it was told to end, at most 10m. By default until everybody on whose connection it was asked for its health has learned that it ends: a few seconds, at most 7s." examples:"[10s]"`
	Socket *strictyaml.Located[Socket]        `yaml:"socket" doc:"Who may connect to a Unix socket: by its mode and owner."`
}

// Admin says who may use the admin listener, which asks nobody who they are.
type Admin struct {
	AllowRemote bool      `yaml:"allow_remote" default:"false" doc:"Allows listen.admin to be an address that other machines reach: a firewall or network policy must keep out whoever may not see the page."`
	Hosts       []located `yaml:"hosts" doc:"The DNS names by which the page may be opened, without port; IP addresses and localhost always count. Others are refused, lest a web site that lets its name lead here (DNS rebinding) reads the page." examples:"[[scopeward.internal.example]]"`
}

// Socket says who may connect to a Unix socket. The system asks for the right to
// write.
type Socket struct {
	Mode  located `yaml:"mode" doc:"The permissions, octal, in quotes; by default 0660: its user and group may connect." examples:"['0660', '0666']"`
	Owner located `yaml:"owner" doc:"Whom it belongs to: user:group, user or :group, by names or numbers; by default the user and group of the process." examples:"['scopeward:envoy', ':101']"`
}

// TLS is the gRPC listener's. With a client CA it is mutual: who has no
// certificate of it is refused in the handshake. The service's own certificate
// passes as a client's too, for healthcheck: who has its key can be the service
// itself.
type TLS struct {
	Cert        located   `yaml:"cert" doc:"The file with the certificate and its intermediates, PEM." examples:"[tls.crt]"`
	Key         located   `yaml:"key" doc:"The file with the certificate's private key, PEM." examples:"[tls.key]"`
	ClientCA    located   `yaml:"client_ca" doc:"The file with the CAs (PEM) of which a client must have a certificate; without it none is asked for." examples:"[ca.crt]"`
	ClientNames []located `yaml:"client_names" doc:"The clients that may connect, by a DNS name or a URI (SPIFFE ID) in the certificate's subjectAltName, compared exactly; by default any with a certificate of client_ca." examples:"[['spiffe://cluster.local/ns/istio-system/sa/gateway', envoy.example.com]]"`
}

// Provider is an identity provider. A token goes to the one that its issuer
// names; a token that is no JWT to the one that takes opaque tokens.
type Provider struct {
	Name          located            `yaml:"name" doc:"The name in metrics and audit events." examples:"[kinde]"`
	Issuer        located            `yaml:"issuer" doc:"The iss of its tokens, to the last slash." examples:"['https://acme.kinde.com']"`
	Validation    located            `yaml:"validation" default:"jwks" doc:"How a token is validated. jwks: by the provider's keys. profile: by its user profile. jwks+profile: by both. introspection: by RFC 7662."`
	Audiences     []text             `yaml:"audiences" doc:"The audiences of your API: any one must be in the token's aud. Required with keys." examples:"[['https://api.acme.dev']]"`
	Algorithms    []located          `yaml:"algorithms" default:"[RS256]" doc:"The signature algorithms that count, asymmetric ones only."`
	ClockSkew     *time.Duration     `yaml:"clock_skew" default:"30s" doc:"By how much the provider's clock may differ, from 0s to 10m."`
	Timeout       *time.Duration     `yaml:"timeout" default:"2s" doc:"The limit of one request to the provider."`
	ScopeClaims   []text             `yaml:"scope_claims" default:"[scope, scp]" doc:"The claims that may hold the scopes: the first that is present counts."`
	Opaque        *bool              `yaml:"opaque" doc:"Whether it takes the tokens that are no JWT; by default it does with validation profile and introspection."`
	CA            located            `yaml:"ca" doc:"The file with the CAs (PEM) that the provider's certificates must come from, instead of those of the system; of an https:// proxy too." examples:"[corp-ca.crt]"`
	Insecure      bool               `yaml:"insecure" default:"false" doc:"Allows http:// URLs beyond this machine."`
	JWKS          JWKSEndpoint       `yaml:"jwks" doc:"Where the provider's keys are, for validation jwks and jwks+profile."`
	Profile       ProfileEndpoint    `yaml:"profile" doc:"The user-profile endpoint, for validation profile and jwks+profile."`
	Introspection IntrospectEndpoint `yaml:"introspection" doc:"The introspection endpoint (RFC 7662), for validation introspection."`
}

// JWKSEndpoint is where a provider's keys are: a URL or a file.
type JWKSEndpoint struct {
	URL      located       `yaml:"url" doc:"Where the keys are fetched; by default the issuer and /.well-known/jwks." examples:"['https://acme.kinde.com/.well-known/jwks']"`
	File     located       `yaml:"file" doc:"The file with the keys, instead of a URL." examples:"[jwks.json]"`
	Refresh  time.Duration `yaml:"refresh" default:"15m" doc:"The time between two fetches."`
	MaxStale time.Duration `yaml:"max_stale" default:"24h" doc:"How long the last good keys serve while the provider fails."`
}

// ProfileEndpoint is the user-profile lookup of a provider.
type ProfileEndpoint struct {
	URL located `yaml:"url" doc:"Where a token's profile is fetched; by default the issuer and /oauth2/v2/user_profile." examples:"['https://acme.kinde.com/oauth2/v2/user_profile']"`
}

// IntrospectEndpoint is RFC 7662's.
type IntrospectEndpoint struct {
	URL          located                    `yaml:"url" doc:"Where tokens are introspected; by default the issuer and /oauth2/introspect." examples:"['https://acme.kinde.com/oauth2/introspect']"`
	ClientID     located                    `yaml:"client_id" doc:"The client that introspects."`
	ClientSecret strictyaml.Located[secret] `yaml:"client_secret" doc:"The secret of that client, as file:PATH or ${NAME}." examples:"['file:client.secret', '${CLIENT_SECRET}']"`
}

// Cache bounds the identity cache.
type Cache struct {
	TTL         *strictyaml.Located[time.Duration] `yaml:"ttl" default:"5m" doc:"How long a valid token is believed, never beyond its exp."`
	NegativeTTL *strictyaml.Located[time.Duration] `yaml:"negative_ttl" default:"10s" doc:"How long an invalid token is refused without asking; 0s not at all."`
	MaxStale    *strictyaml.Located[time.Duration] `yaml:"max_stale" default:"0s" doc:"How long after ttl a valid token is still believed while its provider can't be asked, at most 24h, never beyond its exp, nor once the provider refuses it; 0s not at all. A token that is revoked meanwhile goes on for as long."`
	MaxEntries  *strictyaml.Located[int]           `yaml:"max_entries" default:"100000" doc:"How many tokens it holds."`
	Redis       strictyaml.Located[secret]         `yaml:"redis" doc:"The Redis in which replicas share valid tokens' identities: a redis://, rediss:// or unix:// URL, as file:PATH or with ${NAME}." examples:"['redis://127.0.0.1:6379', 'rediss://scopeward:${REDIS_PASSWORD}@redis.example:6379/0', 'file:redis.url']"`
	Key         strictyaml.Located[secret]         `yaml:"key" doc:"The key by which identities in Redis are encrypted and authenticated, at least 32 bytes, as file:PATH or ${NAME}. Without it, whoever can write to Redis can forge identities." examples:"['file:cache.key', '${CACHE_KEY}']"`
}

// RateLimit bounds the token validations of one client IP.
type RateLimit struct {
	Max          *strictyaml.Located[int]           `yaml:"max" default:"100" doc:"How many may be in one window."`
	Window       *strictyaml.Located[time.Duration] `yaml:"window" default:"15m" doc:"The length of a window, at least 1s."`
	Count        located                            `yaml:"count" default:"validations" doc:"What counts. validations: each validation that the cache didn't answer. requests: each request. off: nothing."`
	TrustedHops  strictyaml.Located[int]            `yaml:"trusted_hops" default:"0" doc:"How many proxies in front of Envoy append to X-Forwarded-For. Where its entries are fewer, or don't tell an address, conditions on request.client_ip deny, and the limit counts whoever connected to Envoy."`
	EnvoyAppends located                            `yaml:"envoy_appends" default:"auto" doc:"Whether Envoy appends the last entry of X-Forwarded-For, for trusted_hops. auto: where that entry is the address that connected to Envoy; behind a proxy on loopback, nobody is known. always: with use_remote_address. never: without it, or with skip_xff_append."`
	Redis        strictyaml.Located[secret]         `yaml:"redis" doc:"The Redis in which replicas count together: a URL as in cache.redis." examples:"['redis://127.0.0.1:6379']"`
}

// Resource is what is published of the API.
type Resource struct {
	Identifier    located `yaml:"identifier" doc:"The URL by which clients call the API, with a path where only that is the API." examples:"['https://api.acme.dev', 'https://acme.dev/api']"`
	Name          located `yaml:"name" doc:"A name of the API for people." examples:"[Acme API]"`
	Documentation located `yaml:"documentation" doc:"The URL of a page for who wants to use the API." examples:"['https://docs.acme.dev']"`
}

// Audit says where audit events go, and which are written.
type Audit struct {
	To     located                      `yaml:"to" default:"stdout" doc:"Where events are written. stdout: to standard output. file:PATH: to the end of a file, which is opened again on SIGHUP, for who rotates logs. off: nowhere." examples:"['file:/var/log/scopeward/audit.log']"`
	Sample *strictyaml.Located[float64] `yaml:"sample" default:"1" doc:"The share of the requests that were let through which get an event, from 0 to 1; such an event says so by its sample. All others get theirs: denials, and what a rule with mode: audit or the shadow policy would have denied." examples:"[0.01]"`
}

// file is the file that events go to; empty without one.
func (a Audit) file(dir string) string {
	if name, ok := strings.CutPrefix(string(a.To.Value), "file:"); ok {
		return absolute(dir, name)
	}
	return ""
}

// Log is the service's own log, on standard error.
type Log struct {
	Level  located `yaml:"level" default:"info" doc:"The least severity that is logged."`
	Format located `yaml:"format" default:"json" doc:"json, or text for people."`
}

type located = strictyaml.Located[text]

// text is a string in which ${NAME} stands for an environment variable.
type text string

var reference = regexp.MustCompile(`\$\{([^}]*)\}`)

// UnmarshalText expands references; one to a variable that is not set is an
// error, for an empty issuer or secret is never what was meant.
func (t *text) UnmarshalText(b []byte) error {
	s, err := expand(string(b))
	*t = text(s)
	return err
}

func expand(s string) (string, error) {
	var err error
	expanded := reference.ReplaceAllStringFunc(s, func(ref string) string {
		name := ref[2 : len(ref)-1]
		value, ok := os.LookupEnv(name)
		if !ok {
			err = fmt.Errorf("environment variable %s is not set", name)
		}
		return value
	})
	return expanded, err
}

// secret is a value that never shows: not in logs, not on /config, not in errors.
type secret struct{ value string }

func (secret) String() string       { return "(secret)" }
func (secret) GoString() string     { return "(secret)" }
func (secret) LogValue() slog.Value { return slog.StringValue("(secret)") }

// MarshalText shows whether there is one.
func (s secret) MarshalText() ([]byte, error) {
	if s.value == "" {
		return nil, nil
	}
	return []byte(s.String()), nil
}

func (s *secret) UnmarshalText(b []byte) error {
	value, err := expand(string(b))
	s.value = value
	return err
}

// inFile tells whether it is in a file of its own.
func (s secret) inFile() bool { return strings.HasPrefix(s.value, "file:") }

// resolve returns the secret itself, read from its file if it names one.
func (s secret) resolve(dir string) (string, error) {
	name, ok := strings.CutPrefix(s.value, "file:")
	if !ok {
		return s.value, nil
	}
	b, err := os.ReadFile(absolute(dir, name))
	if err != nil {
		return "", fmt.Errorf("the secret's file can't be read: %w", err)
	}
	if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 {
		return "", fmt.Errorf("the secret's file %s is empty", name)
	}
	return string(b), nil
}

func absolute(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// options are what the command line says.
type options struct {
	config   string
	policy   []string
	listen   string
	admin    string
	adminSet bool
	remote   bool // as admin.allow_remote
	pretty   bool // show decisions to a person, on standard output
}

const (
	defaultGRPC  = "127.0.0.1:9191"
	defaultAdmin = "127.0.0.1:9192"
)

// loadConfig reads the configuration from a file, or from KINDE_ISSUER_URL,
// KINDE_AUDIENCE and the policy files of the command line. The result has its
// defaults; if the error is strictyaml.Problems, it comes with the result, so
// that the policy can be checked as well.
func loadConfig(o options) (*Config, error) {
	c, problems, err := readConfig(o)
	if err != nil {
		return nil, err
	}
	if len(o.policy) > 0 {
		c.Policy = nil
		for _, p := range o.policy {
			path, err := filepath.Abs(p)
			if err != nil {
				return nil, err
			}
			c.Policy = append(c.Policy, located{Value: text(path)})
		}
	}
	if o.listen != "" {
		c.Listen.GRPC = located{Value: text(o.listen)}
		if !strings.HasPrefix(o.listen, "unix://") {
			c.Listen.Socket = nil
		}
	}
	if o.adminSet {
		c.Listen.Admin = &located{Value: text(o.admin)}
	}
	c.Admin.AllowRemote = c.Admin.AllowRemote || o.remote
	c.setDefaults()
	// What could not be read is not missing as well.
	further := slices.DeleteFunc(c.validate(), func(p strictyaml.Problem) bool {
		return slices.ContainsFunc(problems, func(q strictyaml.Problem) bool { return p.Line == 0 || p.Line == q.Line })
	})
	return c, append(problems, further...).Err()
}

// readConfig reads the configuration's form; problems are mistakes in it.
func readConfig(o options) (c *Config, problems strictyaml.Problems, err error) {
	if o.config == "" {
		c, err = configFromEnvironment(o)
		return c, nil, err
	}
	data, unreadable := strictyaml.ReadFile(o.config)
	if unreadable != nil {
		return nil, nil, unreadable
	}
	c = &Config{file: o.config}
	return c, strictyaml.Decode(o.config, data, c), nil
}

// configFromEnvironment is the configuration of one Kinde business.
func configFromEnvironment(o options) (*Config, error) {
	// Kinde's issuers end without a slash; people copy the URL with one.
	issuer, audience := strings.TrimRight(os.Getenv("KINDE_ISSUER_URL"), "/"), os.Getenv("KINDE_AUDIENCE")
	switch {
	case issuer == "":
		return nil, &usageError{errors.New("there is no configuration: give --config scopeward.yaml, or set KINDE_ISSUER_URL (https://<subdomain>.kinde.com) and KINDE_AUDIENCE and give --policy policy.yaml")}
	case audience == "":
		return nil, errors.New("KINDE_AUDIENCE is not set: it is the audience of your API at Kinde (Settings > APIs), which a token must be meant for")
	case len(o.policy) == 0:
		return nil, errors.New("there is no policy: give --policy policy.yaml")
	}
	p := Provider{Name: located{Value: "kinde"}, Issuer: located{Value: text(issuer)}}
	for _, a := range strings.FieldsFunc(audience, func(r rune) bool { return r == ',' || r == ' ' }) {
		p.Audiences = append(p.Audiences, text(a))
	}
	return &Config{Providers: []strictyaml.Located[Provider]{{Value: p}}}, nil
}

// dir is the folder that relative paths start from.
func (c *Config) dir() string { return filepath.Dir(c.file) }

// paths are policy files and directories, ready to open.
func (c *Config) paths(written []located) []string {
	paths := make([]string, len(written))
	for i, p := range written {
		paths[i] = absolute(c.dir(), string(p.Value))
	}
	return paths
}

// existing are the policy files and directories that are there; what is not is a
// mistake at the place where it is named.
func (c *Config) existing(written []located) (paths []string, missing strictyaml.Problems) {
	for i, path := range c.paths(written) {
		if _, err := os.Stat(path); err != nil && written[i].Pos.Line > 0 {
			missing = append(missing, strictyaml.Problem{Pos: written[i].Pos, Message: strictyaml.Unreadable("policy "+path, err).Error()})
			continue
		}
		paths = append(paths, path)
	}
	return paths, missing
}

package config

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"scopeward/authz"
	"scopeward/authz/answer"
	"scopeward/authz/credential"
	"scopeward/authz/redis"
	"scopeward/authz/token"
	"scopeward/authz/token/apikey"
	"scopeward/authz/token/clientauth"
	"scopeward/authz/token/lookup"
	"scopeward/internal/strictyaml"
)

// Config is a configuration, resolved. It doesn't change.
type Config struct {
	Listen           Listen
	Admin            Admin
	Providers        []Provider
	Cache            Cache
	RateLimit        RateLimit
	Sharing          Sharing
	Credentials      credential.Places
	Answers          answer.List
	DPoP             DPoP
	Headers          []authz.Header
	IdentityToken    authz.IdentityToken
	Realm            string
	Resources        []Resource
	ResourceMetadata string // a URL
	Audit            Audit
	Log              Log
	Doubts           strictyaml.Problems // what is allowed, and hardly what was meant

	document *document
}

// Listen says where the service listens.
type Listen struct {
	GRPC   string // host:port or unix:///path
	Admin  string // host:port; "" is off
	TLS    bool
	Server string         // ServerNative or ServerGRPCGo
	Drain  *time.Duration // nil: until everybody who asks for its health knows
	Socket Socket

	MaxConnections int
	StartPatience  time.Duration // for which a process without keys is not ready
	TrustXFCC      bool          // x-forwarded-client-cert tells the client's certificate
}

// DPoP says how proofs of a client's key are checked.
type DPoP struct {
	MaxAge time.Duration
	Nonce  bool
	Offer  bool // each challenge names it, also to who doesn't use it
}

// The servers of the gRPC listener.
const (
	ServerNative = "native"  // authz/transport
	ServerGRPCGo = "grpc-go" // google.golang.org/grpc alone
)

// Socket says who may connect to a Unix socket.
type Socket struct {
	Mode  fs.FileMode
	Owner string // user:group, user or :group; "" leaves it
}

// Admin says who may use the admin listener.
type Admin struct {
	AllowRemote bool
	Hosts       []string
}

// Provider is an identity provider.
type Provider struct {
	// ID tells a provider from every other, and from itself with another configuration:
	// what was cached under that no longer counts. Replicas with the same settings have
	// the same.
	ID            string
	Name          string
	Preset        string         // by which its settings were filled in; "" without one
	Advice        string         // of the preset, about tokens without the right audience or client
	Issuer        string         // the first, for people and for its metadata
	Issuers       []token.Issuer // all of them
	Clients       []string
	SubjectPrefix string
	Tokens        token.Kind
	Prefixes      []string
	Validation    string // one of the constants Validate…
	Audiences     []string
	Algorithms    []string
	ClockSkew     time.Duration
	Timeout       time.Duration
	ScopeClaims   token.ScopeClaims
	AnyPurpose    bool // ID tokens count, too
	MustBeBound   bool // mere bearer tokens are refused
	Discovery     bool // endpoints that are empty here come from the issuer's metadata
	Insecure      bool // they may be without TLS
	Email         token.EmailRule
	MaxTokenBytes int
	RootCAs       *x509.CertPool // nil: those of the system
	JWKS          JWKS
	ProfileURL    string
	Introspection Introspection
	Lookup        Lookup
	APIKeys       []apikey.Entry
}

// JWKS is where a provider's keys are.
type JWKS struct {
	URLs              []string
	File              string
	Uses              []string
	Token             func() (string, error) // nil without one
	Refresh, MaxStale time.Duration
}

// Introspection is the endpoint of RFC 7662, and how we say there who we are.
type Introspection struct {
	URL    string
	Client clientauth.Options
}

// Lookup is an endpoint that tells of credentials, and how we say there who we are.
type Lookup struct {
	Request lookup.Request
	Meaning lookup.Meaning
	Client  clientauth.Options
}

// Cache bounds the identity cache.
type Cache struct {
	TTL, NegativeTTL, MaxStale time.Duration
	MaxEntries                 int
	MaxBytes                   int64 // 0: by the memory limit
}

// RateLimit bounds the token validations of one client IP.
type RateLimit struct {
	Max    int
	Window time.Duration
	Count  string // validations, requests or off
	Hops   authz.Hops
}

// Sharing is what replicas have in common, in a Redis each.
type Sharing struct {
	Limits, Identities redis.URL // not set: each replica by itself
	Key                Secret    // by which identities are encrypted; "" in plaintext
	Warnings           strictyaml.Problems
}

// Resource is what is published of the API.
type Resource struct{ Identifier, Name, Documentation string }

// Audit says where audit events go, and which are written.
type Audit struct {
	To     string // stdout, off or file:PATH
	File   string // its path; "" for another
	Sample float64
}

// Log is the service's own log.
type Log struct{ Level, Format string }

// resolve makes plain values of a document with its defaults.
func (d *document) resolve(secrets Secrets) (*Config, strictyaml.Problems) {
	c := &Config{
		Listen:           d.listen(),
		Admin:            Admin{d.Admin.AllowRemote, stringsOf(d.Admin.Hosts)},
		Cache:            Cache{d.Cache.TTL.Value, d.Cache.NegativeTTL.Value, d.Cache.MaxStale.Value, d.Cache.MaxEntries.Value, int64(valueOf(d.Cache.MaxBytes))},
		RateLimit:        RateLimit{d.RateLimit.Max.Value, d.RateLimit.Window.Value, string(d.RateLimit.Count.Value), d.RateLimit.hops()},
		Sharing:          d.sharing,
		Credentials:      d.credentials,
		Answers:          d.answers,
		DPoP:             d.dpop(),
		Headers:          d.headers,
		IdentityToken:    d.signed.token,
		Realm:            string(d.Realm.Value),
		ResourceMetadata: string(d.ResourceMetadata.Value),
		Audit:            Audit{To: string(d.Audit.To.Value), Sample: d.Audit.Sample.Value},
		Log:              Log{string(d.Log.Level.Value), string(d.Log.Format.Value)},
		Doubts:           d.doubts(),
		document:         d,
	}
	if name, ok := strings.CutPrefix(c.Audit.To, "file:"); ok {
		c.Audit.File = absolute(d.dir(), name)
	}
	for _, l := range d.Resource {
		r := l.Value
		c.Resources = append(c.Resources, Resource{string(r.Identifier.Value), string(r.Name.Value), string(r.Documentation.Value)})
	}
	v := &validator{file: d.file}
	for _, l := range d.Providers {
		c.Providers = append(c.Providers, d.provider(v, l.Value, secrets))
	}
	return c, v.problems
}

func (d *document) listen() Listen {
	l := Listen{
		GRPC: string(d.Listen.GRPC.Value), Admin: string(d.Listen.Admin.Value), TLS: d.Listen.TLS != nil, Server: string(d.Listen.Server.Value),
		Socket: Socket{Mode: defaultSocketMode}, MaxConnections: d.Listen.MaxConnections.Value, StartPatience: d.Listen.StartPatience.Value,
		TrustXFCC: valueOf(d.Listen.TrustXFCC),
	}
	if d.Listen.Drain != nil {
		l.Drain = &d.Listen.Drain.Value
	}
	if d.Listen.Socket != nil {
		l.Socket = Socket{d.Listen.Socket.Value.mode(), string(d.Listen.Socket.Value.Owner.Value)}
	}
	return l
}

// provider resolves a provider, and reads the files that it names.
func (d *document) provider(v *validator, p providerSection, secrets Secrets) Provider {
	resolved := Provider{
		Name: string(p.Name.Value), Preset: string(p.Preset.Value), Advice: presetOf(p.Preset.Value).Advice, Issuer: string(first(p.Issuer).Value), Issuers: p.issuers(), Validation: string(p.Validation.Value),
		Audiences: plain(p.Audiences), Algorithms: stringsOf(p.Algorithms), ScopeClaims: p.scopeClaims(func(located, string) {}),
		ClockSkew: *p.ClockSkew, Timeout: *p.Timeout,
		Clients: stringsOf(p.Clients), SubjectPrefix: string(p.SubjectPrefix.Value), Tokens: token.Kind(p.Tokens.Value), Prefixes: stringsOf(p.Prefixes),
		JWKS: JWKS{
			URLs: stringsOf(p.JWKS.URL), File: p.JWKS.file(d.dir()), Uses: stringsOf(p.JWKS.Use),
			Refresh: p.JWKS.Refresh.Value, MaxStale: p.JWKS.MaxStale.Value,
		},
		AnyPurpose: p.Purpose.Value == "any", MustBeBound: p.Binding.Value == "required", Email: token.EmailRule(p.Email.Value), MaxTokenBytes: p.MaxTokenBytes.Value,
		Discovery: p.Discovery.Value == "auto", Insecure: p.Insecure,
		ProfileURL:    string(p.Profile.URL.Value),
		Introspection: Introspection{URL: string(p.Introspection.URL.Value)},
		Lookup:        Lookup{Meaning: p.Lookup.meaning},
	}
	if secret := p.JWKS.Token; secret.Value != "" {
		resolved.JWKS.Token = func() (string, error) { got, err := secret.Value.resolve(d.dir()); return string(got), err }
	}
	resolved.Lookup.Request = p.Lookup.request(func(text strictyaml.Located[Secret]) string {
		secret, err := text.Value.resolve(d.dir())
		if err != nil && secrets != NoSecrets {
			v.add(text.Pos, "%v", err)
		}
		return string(secret)
	})
	var ca, keys []byte
	if secrets != NoSecrets {
		var err error
		resolved.Introspection.Client = p.Introspection.options(v, "introspection", p.Introspection.Auth, d.dir(), resolved.Issuer)
		resolved.Lookup.Client = p.Lookup.options(v, "lookup", p.Lookup.Auth, d.dir(), resolved.Issuer)
		if resolved.RootCAs, ca, err = p.roots(d.dir()); err != nil {
			v.add(p.CA.Pos, "%v", err)
		}
		if resolved.Validation == ValidateAPIKeys {
			resolved.APIKeys, keys = p.APIKeys.read(v, d.dir())
		}
	}
	resolved.ID = d.providerID(p, resolved, ca, keys)
	return resolved
}

func (d *document) providerID(p providerSection, resolved Provider, ca, apiKeys []byte) string {
	var keys []byte
	if resolved.JWKS.File != "" {
		keys, _ = os.ReadFile(resolved.JWKS.File) // the key set says so if it can't be read
	}
	settings := textOf(struct {
		Provider         providerSection
		TTL, NegativeTTL time.Duration
	}{p, d.Cache.TTL.Value, d.Cache.NegativeTTL.Value})
	parts := [][]byte{[]byte(settings), keys, ca, apiKeys, fmt.Appendf(nil, "%q", []map[string]string{resolved.Lookup.Request.Form, resolved.Lookup.Request.Query})}
	for _, c := range []clientauth.Options{resolved.Introspection.Client, resolved.Lookup.Client} {
		parts = append(parts, fmt.Appendf(nil, "%q", []string{c.Secret, c.Token}), publicKey(c.Key))
	}
	sum := digest(parts...)
	return resolved.Name + "/" + hex.EncodeToString(sum[:8])
}

// roots reads the CAs of a provider; nil are those of the system.
func (p providerSection) roots(dir string) (*x509.CertPool, []byte, error) {
	if p.CA.Value == "" {
		return nil, nil, nil
	}
	pool, data, err := ReadCAs(absolute(dir, string(p.CA.Value)), string(p.CA.Value))
	if err != nil {
		return nil, nil, fmt.Errorf("ca: %w", err)
	}
	return pool, data, nil
}

// ReadCAs reads a file of CAs, and gives what it holds as well. written is how somebody
// named the file.
func ReadCAs(name, written string) (*x509.CertPool, []byte, error) {
	data, unreadable := strictyaml.ReadFile(name)
	if unreadable != nil {
		return nil, nil, unreadable
	}
	pool, err := certPool(data, time.Now())
	if err != nil {
		return nil, nil, fmt.Errorf("%s %w", written, err)
	}
	return pool, data, nil
}

func (j jwksEndpoint) file(dir string) string {
	if j.File.Value == "" {
		return ""
	}
	return absolute(dir, string(j.File.Value))
}

func plain(ts []text) []string {
	s := make([]string, len(ts))
	for i, t := range ts {
		s[i] = string(t)
	}
	return s
}

func stringsOf(ls []located) []string {
	s := make([]string, len(ls))
	for i, l := range ls {
		s[i] = string(l.Value)
	}
	return s
}

// At puts the place of a setting, as listen.grpc, before an error; one of the command
// line has no place.
func (c *Config) At(setting string, err error) error {
	pos := map[string]strictyaml.Pos{
		"listen.grpc":  c.document.Listen.GRPC.Pos,
		"listen.admin": c.document.Listen.Admin.Pos,
		"audit.to":     c.document.Audit.To.Pos,
	}[setting]
	if pos.Line == 0 {
		return fmt.Errorf("%s: %w", setting, err)
	}
	return fmt.Errorf("%s: %s: %w", pos, setting, err)
}

// Shown is the configuration as it may be shown: secrets hide themselves.
func (c *Config) Shown() (map[string]any, error) {
	var shown map[string]any
	b, err := yaml.Marshal(c.document)
	if err == nil {
		err = yaml.Unmarshal(b, &shown)
	}
	return shown, err
}

func (r rateLimitSection) hops() authz.Hops {
	appends := map[text]authz.EnvoyAppends{"auto": authz.AppendsAuto, "always": authz.AppendsAlways, "never": authz.AppendsNever}
	return authz.Hops{Trusted: r.TrustedHops.Value, Appends: appends[r.EnvoyAppends.Value]}
}

// Warnings are what an operator should know of settings that are allowed.
func (c *Config) Warnings() strictyaml.Problems {
	warnings := c.Sharing.Warnings
	if c.DPoP.Nonce && c.Sharing.Key == "" {
		warnings = append(warnings, strictyaml.Problem{Pos: c.document.DPoP.Pos, Message: "dpop.nonce without cache.key: " +
			"each replica has nonces of its own, and a client that comes from one to another has to ask twice; give all replicas one key"})
	}
	for _, l := range c.document.Providers {
		p := l.Value
		// Whoever asks a lookup as itself asks about what was made for it.
		own := p.Validation.Value == ValidateAPIKeys || p.Validation.Value == ValidateLookup && p.Lookup.Auth.Value != clientauth.None
		if own || len(p.Audiences)+len(p.Clients) > 0 || p.SubjectPrefix.Value != "" {
			continue
		}
		pos, advice := l.Pos, "name your API's audiences"
		if p.Validation.Pos.Line > 0 {
			pos = p.Validation.Pos
		}
		if p.Validation.Value == ValidateProfile {
			advice = "a profile can't tell which; prefer validation: introspection with audiences, or jwks+profile"
		}
		warnings = append(warnings, strictyaml.Problem{Pos: pos, Message: fmt.Sprintf(
			"provider %q has no audiences: a token that another application got from it passes, too; %s", p.Name.Value, advice)})
	}
	return warnings
}

// HeaderNames are the headers that an allowed request carries, in lower case, sorted.
func (c *Config) HeaderNames() []string {
	names := []string{}
	for name := range c.document.Headers {
		names = append(names, strings.ToLower(name))
	}
	if d := c.document.IdentityToken; d != nil {
		names = append(names, strings.ToLower(string(d.Value.Header.Value)))
	}
	slices.Sort(names)
	return names
}

// Same reports whether two configurations say the same, but for what the files hold that
// have versions of their own.
func (c *Config) Same(other *Config) bool {
	return textOf(c.document) == textOf(other.document) && c.document.bodies == other.document.bodies &&
		c.document.signed.version == other.document.signed.version
}

// NeedRestart names the settings that differ in next, but only count at the start.
func (c *Config) NeedRestart(next *Config) []string {
	var settings []string
	for _, setting := range []struct {
		name    string
		changed bool
	}{
		{"listen.grpc", c.Listen.GRPC != next.Listen.GRPC},
		{"listen.admin", c.Listen.Admin != next.Listen.Admin},
		{"listen.socket", c.Listen.Socket != next.Listen.Socket},
		{"listen.server", c.Listen.Server != next.Listen.Server},
		{"listen.tls", c.Listen.TLS != next.Listen.TLS},
		{"listen.max_connections", c.Listen.MaxConnections != next.Listen.MaxConnections},
		{"audit.to", c.Audit.To != next.Audit.To},
		{"log.level", c.Log.Level != next.Log.Level},
		{"log.format", c.Log.Format != next.Log.Format},
	} {
		if setting.changed {
			settings = append(settings, setting.name)
		}
	}
	return settings
}

// Watched are the files and folders whose changes matter.
func (c *Config) Watched() []string {
	d := c.document
	var paths []string
	add := func(name string) {
		if name != "" {
			paths = append(paths, absolute(d.dir(), name))
		}
	}
	for _, name := range slices.Concat(d.Policy, d.Shadow, d.Revoked) {
		add(string(name.Value))
	}
	if d.file != "" {
		paths = append(paths, d.file)
	}
	if d.Listen.TLS != nil {
		t := d.Listen.TLS.Value
		for _, name := range []located{t.Cert, t.Key, t.ClientCA} {
			add(string(name.Value))
		}
	}
	for _, l := range d.Answers {
		add(l.Value.Body.Value.file(d.dir()))
	}
	secrets := []Secret{d.Cache.Redis.Value, d.Cache.Key.Value, d.RateLimit.Redis.Value}
	if d.IdentityToken != nil {
		for _, key := range d.IdentityToken.Value.Key {
			secrets = append(secrets, key.Value)
		}
	}
	for _, l := range d.Providers {
		add(l.Value.JWKS.file(d.dir()))
		add(string(l.Value.CA.Value))
		add(string(l.Value.APIKeys.File.Value))
		secrets = slices.Concat(secrets, l.Value.Introspection.secrets(), l.Value.Lookup.secrets())
	}
	for _, s := range secrets {
		add(s.file(d.dir()))
	}
	return paths
}

// textOf is a part of a document without its positions.
func textOf(v any) string {
	text, err := yaml.Marshal(v)
	if err != nil { // it came from YAML
		return err.Error()
	}
	return string(text)
}

// valueOf is the zero value where nothing is written.
func valueOf[T any](l *strictyaml.Located[T]) (v T) {
	if l != nil {
		v = l.Value
	}
	return v
}

// publicKey tells one private key from another.
func publicKey(key crypto.Signer) []byte {
	if key == nil {
		return nil
	}
	public, _ := x509.MarshalPKIXPublicKey(key.Public())
	return public
}

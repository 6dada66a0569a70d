package config

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"scopeward/authz"
	"scopeward/authz/token"
	"scopeward/authz/token/clientauth"
	"scopeward/internal/loopback"
	"scopeward/internal/strictyaml"
)

// The ways to validate a token.
const (
	ValidateJWKS              = "jwks"
	ValidateProfile           = "profile"
	ValidateJWKSProfile       = "jwks+profile"
	ValidateIntrospection     = "introspection"
	ValidateJWKSIntrospection = "jwks+introspection"
	ValidateLookup            = "lookup"
	ValidateAPIKeys           = "api_keys"
)

// Asymmetric are the algorithms of RFC 7518 section 3.1 and RFC 8037 whose
// verification key can't sign.
var Asymmetric = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}

// What other keys may be.
var (
	validations = []string{ValidateJWKS, ValidateProfile, ValidateJWKSProfile, ValidateIntrospection, ValidateJWKSIntrospection, ValidateLookup, ValidateAPIKeys}
	counts      = []string{"validations", "requests", "off"}
	appends     = []string{"auto", "always", "never"}
	purposes    = []string{"access", "any"}
	bindings    = []string{"optional", "required"}
	emails      = []string{"verified", "unless_unverified", "any"}
	logLevels   = []string{"debug", "info", "warn", "error"}
	servers     = []string{ServerNative, ServerGRPCGo}
	logFormats  = []string{"json", "text"}
)

// setDefaults fills in what the file leaves out.
func (d *document) setDefaults() {
	setDefault(&d.Listen.GRPC, DefaultGRPC)
	setDefault(&d.Listen.Server, ServerNative)
	if d.Listen.Admin == nil {
		d.Listen.Admin = &located{Value: DefaultAdmin}
	}
	setPointer(&d.Listen.MaxConnections, 1024)
	setPointer(&d.Listen.StartPatience, time.Minute)
	for i := range d.Providers {
		d.Providers[i].Value.setDefaults()
	}
	setPointer(&d.Cache.TTL, 5*time.Minute)
	setPointer(&d.Cache.NegativeTTL, 10*time.Second)
	setPointer(&d.Cache.MaxStale, 0)
	setPointer(&d.Cache.MaxEntries, 100_000)
	setPointer(&d.RateLimit.Max, 100)
	setPointer(&d.RateLimit.Window, 15*time.Minute)
	setDefault(&d.RateLimit.Count, "validations")
	setDefault(&d.RateLimit.EnvoyAppends, "auto")
	setDefault(&d.Realm, "api")
	if d.IdentityToken != nil {
		d.IdentityToken.Value.setDefaults()
	}
	if len(d.Resource) == 1 {
		if address, err := authz.MetadataURL(string(d.Resource[0].Value.Identifier.Value)); err == nil {
			setDefault(&d.ResourceMetadata, text(address))
		}
	}
	setDefault(&d.Audit.To, "stdout")
	setPointer(&d.Audit.Sample, 1)
	setDefault(&d.Log.Level, "info")
	setDefault(&d.Log.Format, "json")
}

func (p *providerSection) setDefaults() {
	p.usePreset()
	setDefault(&p.Validation, ValidateJWKS)
	setDefault(&p.Purpose, "access")
	setDefault(&p.Binding, "optional")
	setDefault(&p.Email, "unless_unverified")
	setPointer(&p.MaxTokenBytes, token.DefaultMaxLength)
	if p.Algorithms == nil {
		p.Algorithms = []located{{Value: "RS256"}}
	}
	if p.ClockSkew == nil {
		p.ClockSkew = new(30 * time.Second)
	}
	if p.Timeout == nil {
		p.Timeout = new(2 * time.Second)
	}
	setPointer(&p.JWKS.Refresh, 15*time.Minute)
	setPointer(&p.JWKS.MaxStale, 24*time.Hour)
	if p.ScopeClaims == nil {
		p.ScopeClaims = []strictyaml.OneOrMore[located]{{{Value: "scope"}}, {{Value: "scp"}}}
	}
	switch {
	case p.Opaque != nil && p.Tokens.Pos.Line > 0: // an error
	case p.Opaque == nil && (p.Validation.Value == ValidateAPIKeys || p.Validation.Value == ValidateLookup):
		setDefault(&p.Tokens, "opaque")
	case p.Opaque != nil && *p.Opaque, p.Opaque == nil && !byKeys(string(p.Validation.Value)):
		setDefault(&p.Tokens, "any")
	default:
		setDefault(&p.Tokens, "jwt")
	}
	if p.JWKS.Use == nil {
		p.JWKS.Use = []located{{Value: "sig"}}
	}
	setDefault(&p.Discovery, "auto")
	setDefault(&p.Introspection.Auth, clientauth.Basic)
	p.Lookup.setDefaults()
}

func setDefault(l *located, value text) {
	if l.Value == "" && l.Pos.Line == 0 {
		l.Value = value
	}
}

func setPointer[T any](p **strictyaml.Located[T], value T) {
	if *p == nil {
		*p = &strictyaml.Located[T]{Value: value}
	}
}

// validator collects mistakes.
type validator struct {
	file     string
	problems strictyaml.Problems
}

func (v *validator) add(pos strictyaml.Pos, format string, args ...any) {
	if pos.File == "" {
		pos.File = v.file
	}
	v.problems = append(v.problems, strictyaml.Problem{Pos: pos, Message: fmt.Sprintf(format, args...)})
}

func (v *validator) oneOf(what string, l located, allowed ...string) {
	if !slices.Contains(allowed, string(l.Value)) {
		v.add(l.Pos, "%s is %q; it must be one of %s", what, l.Value, strings.Join(allowed, ", "))
	}
}

// validate returns every mistake that the form of the file doesn't show, compiles the
// headers, and resolves what replicas share.
func (d *document) validate(secrets Secrets) strictyaml.Problems {
	v := &validator{file: d.file}
	if v.file == "" {
		v.file = "environment"
	}
	v.listen(d.Listen)
	v.admin(d)
	v.providers(d.Providers)
	if d.Cache.TTL.Value <= 0 {
		v.add(d.Cache.TTL.Pos, "cache.ttl must be longer than 0s")
	}
	if d.Cache.NegativeTTL.Value < 0 {
		v.add(d.Cache.NegativeTTL.Pos, "cache.negative_ttl can't be negative; 0s keeps no invalid tokens")
	}
	if d.Cache.MaxStale.Value < 0 || d.Cache.MaxStale.Value > 24*time.Hour {
		v.add(d.Cache.MaxStale.Pos, "cache.max_stale must lie between 0s and 24h")
	}
	if d.Cache.MaxEntries.Value < 1 {
		v.add(d.Cache.MaxEntries.Pos, "cache.max_entries must be at least 1")
	}
	if d.Cache.Key.Pos.Line > 0 && d.Cache.Redis.Pos.Line == 0 && !d.dpop().Nonce {
		v.add(d.Cache.Key.Pos, "cache.key has no effect without cache.redis, whose identities it encrypts, and without dpop.nonce; remove it")
	}
	if d.Cache.MaxBytes != nil && d.Cache.MaxBytes.Value < minCache {
		v.add(d.Cache.MaxBytes.Pos, "cache.max_bytes must be at least 1MiB")
	}
	v.bound(d)
	v.rateLimit(d.RateLimit)
	d.unusedSettings(v)
	d.sharing = v.readSharing(d, secrets == AllSecrets)
	d.credentials = v.readCredentials(d)
	d.answers = v.readAnswers(d, secrets != NoSecrets)
	d.headers = nil
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		field := d.Headers[name]
		h, err := authz.NewHeader(name, string(field.Value))
		claim, ofClaim := strings.CutPrefix(string(field.Value), "identity.claims.")
		switch {
		case ofClaim && isPath(claim):
			v.add(field.Pos, "header %s: claims within claims, as in %s, are not supported: a header shows a claim at the top of the token; have the provider add one there", strings.ToLower(name), claim)
		case err != nil:
			v.add(field.Pos, "%v", err)
		case seen[strings.ToLower(name)]:
			v.add(field.Pos, "header %s is there twice: the case of a header's name says nothing", strings.ToLower(name))
		}
		seen[strings.ToLower(name)] = true
		d.headers = append(d.headers, h)
	}
	d.signed = v.identityToken(d, secrets)
	if strings.ContainsFunc(string(d.Realm.Value), func(r rune) bool { return r < ' ' || r > '~' }) {
		v.add(d.Realm.Pos, "realm must be printable ASCII")
	}
	if d.ResourceMetadata.Pos.Line > 0 {
		v.url("resource_metadata", d.ResourceMetadata, true)
	}
	v.resources(d.Resource, d.ResourceMetadata)
	if len(d.Policy) == 0 {
		v.add(strictyaml.Pos{}, "policy is missing: name the policy files, as in policy: [policy.yaml]")
	}
	v.audit(d.Audit)
	v.oneOf("log.level", d.Log.Level, logLevels...)
	v.oneOf("log.format", d.Log.Format, logFormats...)
	return v.problems
}

func (v *validator) resources(all []strictyaml.Located[resourceSection], elsewhere located) {
	if len(all) > 0 && elsewhere.Pos.Line > 0 {
		v.add(elsewhere.Pos, "with resource, the metadata is served here; remove resource_metadata, or remove resource if the document is served elsewhere")
	}
	var documents []authz.Metadata
	for _, l := range all {
		document, ok := v.resource(l)
		if !ok {
			continue
		}
		if slices.ContainsFunc(documents, func(m authz.Metadata) bool { return m.SamePlace(&document) }) {
			v.add(l.Value.Identifier.Pos, "resource.identifier: another resource has the same host and path, so that both documents would be at one place; give one of them another path, or remove it")
		}
		documents = append(documents, document)
	}
}

func (v *validator) resource(l strictyaml.Located[resourceSection]) (document authz.Metadata, ok bool) {
	r := l.Value
	if r.Identifier.Value == "" {
		v.add(l.Pos, "resource needs an identifier: the URL by which clients call the API, as in https://api.acme.dev")
		return document, false
	}
	before := len(v.problems)
	v.url("resource.identifier", r.Identifier, false)
	if r.Documentation.Value != "" {
		v.url("resource.documentation", r.Documentation, true)
	}
	if len(v.problems) > before {
		return document, false
	}
	document, err := authz.NewMetadata(authz.Resource{Identifier: string(r.Identifier.Value)})
	if err != nil {
		v.add(r.Identifier.Pos, "resource.identifier: %v", err)
	}
	return document, err == nil
}

func (v *validator) audit(a auditSection) {
	switch to := string(a.To.Value); {
	case to == "file:":
		v.add(a.To.Pos, "audit.to: file: needs a name after it, as in file:/var/log/scopeward/audit.log")
	case to != "stdout" && to != "off" && !strings.HasPrefix(to, "file:"):
		v.add(a.To.Pos, "audit.to is %q; it must be stdout, off, or file: and a path, as in file:/var/log/scopeward/audit.log", to)
	}
	if !(a.Sample.Value >= 0 && a.Sample.Value <= 1) { // also what is not a number
		v.add(a.Sample.Pos, "audit.sample must lie between 0 and 1, as in 0.01 for one of a hundred")
	}
}

func (v *validator) rateLimit(r rateLimitSection) {
	v.oneOf("rate_limit.count", r.Count, counts...)
	if r.Max.Value < 1 {
		v.add(r.Max.Pos, "rate_limit.max must be at least 1; count: off turns the limit off")
	}
	if r.Window.Value < time.Second {
		v.add(r.Window.Pos, "rate_limit.window must be at least 1s")
	}
	if r.TrustedHops.Value < 0 {
		v.add(r.TrustedHops.Pos, "rate_limit.trusted_hops can't be negative")
	}
	v.oneOf("rate_limit.envoy_appends", r.EnvoyAppends, appends...)
	if r.EnvoyAppends.Value != "auto" && r.TrustedHops.Value == 0 {
		v.add(r.EnvoyAppends.Pos, "rate_limit.envoy_appends has no effect without trusted_hops: set trusted_hops to the number of proxies in front of Envoy, or remove it")
	}
}

func (v *validator) providers(ps []strictyaml.Located[providerSection]) {
	if len(ps) == 0 {
		v.add(strictyaml.Pos{}, "providers is missing: name at least one identity provider")
	}
	var names []string
	for i := range ps {
		l := &ps[i]
		p := &l.Value
		pos := func(field located) strictyaml.Pos {
			if field.Pos.Line > 0 {
				return field.Pos
			}
			return l.Pos
		}
		name := string(p.Name.Value)
		switch {
		case name == "":
			v.add(pos(p.Name), "a provider needs a name: it appears in metrics and audit events")
		case slices.Contains(names, name):
			v.add(pos(p.Name), "there are two providers named %q", name)
		}
		names = append(names, name)
		v.provider(p, pos)
	}
	v.distinct(ps)
}

func (v *validator) provider(l *providerSection, pos func(located) strictyaml.Pos) {
	p := *l
	mode := string(p.Validation.Value)
	v.oneOf("validation", located{Value: p.Validation.Value, Pos: pos(p.Validation)}, validations...)
	v.preset(p, pos)
	v.apiKeys(p, pos)
	v.unusedSections(p)
	jwks := byKeys(mode)
	if jwks && len(p.Audiences) == 0 && len(p.Clients) == 0 {
		v.add(pos(located{}), "provider %q has no audiences: without one a token that was meant for another API would pass", p.Name.Value)
	}
	v.whose(p, pos)
	if slices.Contains(p.Audiences, "") {
		v.add(pos(located{}), "provider %q has an empty audience", p.Name.Value)
	}
	if len(p.Algorithms) == 0 {
		v.add(pos(located{}), "provider %q has an empty list of algorithms; leave it out for RS256", p.Name.Value)
	}
	v.scopePlaces(p, pos)
	for _, alg := range p.Algorithms {
		if !slices.Contains(Asymmetric, string(alg.Value)) {
			v.add(pos(alg), "algorithm %q can't be used: it must be one of the asymmetric ones, %s", alg.Value, strings.Join(Asymmetric, ", "))
		}
	}
	if p.CA.Value == "" && p.CA.Pos.Line > 0 {
		v.add(p.CA.Pos, "provider %q has an empty ca: name the file of its CAs, or remove the key to trust those of the system", p.Name.Value)
	}
	if *p.ClockSkew < 0 || *p.ClockSkew > 10*time.Minute {
		v.add(pos(located{}), "provider %q: clock_skew must lie between 0s and 10m", p.Name.Value)
	}
	if *p.Timeout <= 0 {
		v.add(pos(located{}), "provider %q: timeout must be longer than 0s", p.Name.Value)
	}
	v.keyTimes(p.JWKS)
	v.oneOf("purpose", p.Purpose, purposes...)
	v.binding(p)
	v.oneOf("email", p.Email, emails...)
	if n := p.MaxTokenBytes; n.Value < 1024 || n.Value > token.MaxLength {
		v.add(n.Pos, "provider %q: max_token_bytes must lie between 1024 and %d", p.Name.Value, token.MaxLength)
	}
	if p.Tokens.Value != "jwt" && mode == ValidateProfile && len(p.Audiences)+len(p.Clients) > 0 {
		v.add(pos(p.Validation), "provider %q: a profile tells no audience, so that audiences would not hold for tokens that are no JWT: "+
			"write tokens: jwt if its tokens are JWTs, use validation: introspection, or remove audiences and clients (then a token of any client passes)", p.Name.Value)
	}
	if p.Tokens.Value != "jwt" && jwks {
		v.add(pos(p.Tokens), "provider %q: tokens: any or opaque (opaque: true) needs validation: profile or introspection; keys say nothing of a token that is no JWT", p.Name.Value)
	}
	if len(p.Issuer) == 0 && p.SubjectPrefix.Value == "" {
		return // the URLs that come from it would only repeat the mistake
	}
	v.endpoints(p, pos)
	switch mode {
	case ValidateIntrospection, ValidateJWKSIntrospection:
		v.client("introspection", p.Introspection.Auth, p.Introspection.clientSection, p.Insecure, pos)
	case ValidateLookup:
		v.lookup(l, pos)
	}
}

// endpoints are those that the validation needs, and those that are written.
func (v *validator) endpoints(p providerSection, pos func(located) strictyaml.Pos) {
	v.oneOf("discovery", p.Discovery, "auto", "off")
	if p.JWKS.File.Value != "" && len(p.JWKS.URL) > 0 {
		v.add(pos(p.JWKS.File), "jwks has a url and a file; keep one")
	}
	mode, discovered := string(p.Validation.Value), false
	for _, e := range []struct {
		name   string
		url    located
		needed bool
	}{
		{"jwks.url", first(p.JWKS.URL), strings.HasPrefix(mode, ValidateJWKS) && p.JWKS.File.Value == ""},
		{"profile.url", p.Profile.URL, mode == ValidateProfile || mode == ValidateJWKSProfile},
		{"introspection.url", p.Introspection.URL, mode == ValidateIntrospection || mode == ValidateJWKSIntrospection},
	} {
		switch {
		case e.url.Value != "" || e.url.Pos.Line > 0:
			v.url(e.name, located{Value: e.url.Value, Pos: pos(e.url)}, p.Insecure)
		case e.needed && p.Discovery.Value == "off":
			v.add(pos(p.Discovery), "provider %q: discovery is off, so that %s must be written", p.Name.Value, e.name)
		case e.needed:
			discovered = true
		}
	}
	for _, l := range p.JWKS.URL[min(1, len(p.JWKS.URL)):] {
		v.url("jwks.url", located{Value: l.Value, Pos: pos(l)}, p.Insecure)
	}
	switch issuer := first(p.Issuer); {
	case !discovered:
	case strings.Contains(string(issuer.Value), "{"):
		v.add(pos(issuer), "provider %q: metadata are of one issuer, and %s is a template of many: write the endpoints, such as jwks.url", p.Name.Value, issuer.Value)
	default:
		v.url("issuer", located{Value: issuer.Value, Pos: pos(issuer)}, p.Insecure)
	}
}

// url accepts an absolute URL, over TLS unless it stays on this machine.
func (v *validator) url(what string, l located, insecure bool) {
	u, err := url.Parse(string(l.Value))
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		v.add(l.Pos, "%s: %q is not an http(s) URL", what, l.Value)
		return
	}
	if strings.ContainsFunc(string(l.Value), unicode.IsSpace) || strings.ContainsAny(string(l.Value), `\#`) {
		v.add(l.Pos, "%s: %q holds white space, a backslash or a fragment (#), which no URL that is asked has", what, l.Value)
	}
	if port := u.Port(); port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			v.add(l.Pos, "%s: %q has a port that there is not; it must lie between 0 and 65535", what, l.Value)
		}
	}
	if u.User != nil {
		v.add(l.Pos, "%s must not hold a user name or password", what)
	}
	if u.Scheme == "http" && !insecure && !loopback.Is(u.Hostname()) {
		v.add(l.Pos, "%s: http:// sends tokens readable over the network; use https:// (insecure: true on the provider allows it nevertheless)", what)
	}
}

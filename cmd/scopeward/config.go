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
	"scopeward/policy/strictyaml"
)

// Config is scopeward.yaml. Every duration is a Go duration string (30s, 5m);
// relative paths are relative to the file; ${NAME} stands for an environment
// variable.
type Config struct {
	Listen           Listen                         `yaml:"listen"`
	Providers        []strictyaml.Located[Provider] `yaml:"providers"`
	Cache            Cache                          `yaml:"cache"`
	RateLimit        RateLimit                      `yaml:"rate_limit"`
	Headers          map[string]located             `yaml:"headers"`           // header name: identity field
	Realm            located                        `yaml:"realm"`             // in challenges; default api
	ResourceMetadata located                        `yaml:"resource_metadata"` // RFC 9728 URL, in challenges
	Policy           strictyaml.OneOrMore[located]  `yaml:"policy"`            // files or directories
	Shadow           strictyaml.OneOrMore[located]  `yaml:"shadow"`            // policies that are decided beside, recorded, and never enforced
	Log              Log                            `yaml:"log"`

	file    string         // where it was read, for messages; "" without a file
	headers []authz.Header // compiled from Headers
}

// Listen says where the service listens.
type Listen struct {
	GRPC  located  `yaml:"grpc"`  // host:port, or unix:///path; default 127.0.0.1:9191
	Admin *located `yaml:"admin"` // host:port of /healthz /readyz /metrics /config; "" turns it off; default 127.0.0.1:9192
}

// Provider is an identity provider. A token goes to the one that its issuer
// names; a token that is no JWT to the one that takes opaque tokens.
type Provider struct {
	Name          located            `yaml:"name"`
	Issuer        located            `yaml:"issuer"`
	Validation    located            `yaml:"validation"` // jwks, profile, jwks+profile or introspection; default jwks
	Audiences     []text             `yaml:"audiences"`  // any one must be in the token's aud
	Algorithms    []located          `yaml:"algorithms"` // default RS256; asymmetric algorithms only
	ClockSkew     *time.Duration     `yaml:"clock_skew"` // default 30s
	Timeout       *time.Duration     `yaml:"timeout"`    // of one request to the provider; default 2s
	ScopeClaims   []text             `yaml:"scope_claims"`
	Opaque        *bool              `yaml:"opaque"`   // takes tokens that are no JWT; default true for profile and introspection
	Insecure      bool               `yaml:"insecure"` // allows http:// beyond loopback
	JWKS          JWKSEndpoint       `yaml:"jwks"`
	Profile       ProfileEndpoint    `yaml:"profile"`
	Introspection IntrospectEndpoint `yaml:"introspection"`
}

// JWKSEndpoint is where a provider's keys are: a URL or a file.
type JWKSEndpoint struct {
	URL      located       `yaml:"url"` // default: issuer + /.well-known/jwks
	File     located       `yaml:"file"`
	Refresh  time.Duration `yaml:"refresh"`   // default 15m
	MaxStale time.Duration `yaml:"max_stale"` // default 24h
}

// ProfileEndpoint is the user-profile lookup of a provider.
type ProfileEndpoint struct {
	URL located `yaml:"url"` // default: issuer + /oauth2/v2/user_profile
}

// IntrospectEndpoint is RFC 7662's.
type IntrospectEndpoint struct {
	URL          located                    `yaml:"url"` // default: issuer + /oauth2/introspect
	ClientID     located                    `yaml:"client_id"`
	ClientSecret strictyaml.Located[secret] `yaml:"client_secret"` // file:PATH or ${NAME}
}

// Cache bounds the identity cache.
type Cache struct {
	TTL         *strictyaml.Located[time.Duration] `yaml:"ttl"`          // default 5m; never beyond a token's exp
	NegativeTTL *strictyaml.Located[time.Duration] `yaml:"negative_ttl"` // default 10s
	MaxEntries  *strictyaml.Located[int]           `yaml:"max_entries"`  // default 100000
}

// RateLimit bounds the token validations of one client IP.
type RateLimit struct {
	Max         *strictyaml.Located[int]           `yaml:"max"`    // default 100
	Window      *strictyaml.Located[time.Duration] `yaml:"window"` // default 15m
	Count       located                            `yaml:"count"`  // validations (default), requests or off
	TrustedHops strictyaml.Located[int]            `yaml:"trusted_hops"`
}

// Log is the service's own log, on standard error.
type Log struct {
	Level  located `yaml:"level"`  // debug, info (default), warn, error
	Format located `yaml:"format"` // json (default) or text
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

func (secret) String() string               { return "(secret)" }
func (secret) GoString() string             { return "(secret)" }
func (secret) LogValue() slog.Value         { return slog.StringValue("(secret)") }
func (secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

func (s *secret) UnmarshalText(b []byte) error {
	value, err := expand(string(b))
	s.value = value
	return err
}

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
	}
	if o.adminSet {
		c.Listen.Admin = &located{Value: text(o.admin)}
	}
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
	data, err := os.ReadFile(o.config)
	if err != nil {
		return nil, nil, fmt.Errorf("the configuration can't be read: %w", err)
	}
	c = &Config{file: o.config}
	return c, strictyaml.Decode(o.config, data, c), nil
}

// configFromEnvironment is the configuration of one Kinde business.
func configFromEnvironment(o options) (*Config, error) {
	issuer, audience := os.Getenv("KINDE_ISSUER_URL"), os.Getenv("KINDE_AUDIENCE")
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

package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
)

// Options say what to read, and what the command line says beside the file.
type Options struct {
	File        string   // without one, KINDE_ISSUER_URL and KINDE_AUDIENCE count
	Policy      []string // instead of those of the file
	GRPC        string   // instead of listen.grpc
	Admin       *string  // instead of listen.admin
	AllowRemote bool     // as admin.allow_remote
	Secrets     Secrets  // which of the files with secrets and CAs are read
}

// Secrets says which of the files that hold secrets and CAs are read, and must be good.
// The others count as absent: tools that run on another machine than the service can't
// read them all.
type Secrets int

// The zero value is what the service needs.
const (
	AllSecrets Secrets = iota
	SecretsOfProviders
	NoSecrets
)

// The addresses that the service listens on by default.
const (
	DefaultGRPC  = "127.0.0.1:9191"
	DefaultAdmin = "127.0.0.1:9192"
)

// ErrUsage is an error of the command line, not of a file.
var ErrUsage = errors.New("wrong usage")

type usageError struct{ error }

func (usageError) Is(target error) bool { return target == ErrUsage }

// Files are the configuration, the policies that it names, and at the start the
// certificates: they are read again on their own.
type Files struct {
	Config *Config
	Policy *policy.Set
	Shadow *policy.Set // nil without one
	Revoked
	Certs *Certificates // nil without listen.tls
}

// Load reads all that the service needs; the error holds the mistakes of all files.
func Load(o Options) (Files, error) {
	f, err := LoadRules(o)
	var problems strictyaml.Problems
	if f.Config == nil || !f.Config.Listen.TLS || err != nil && !errors.As(err, &problems) {
		return f, err
	}
	certs, broken := f.Config.document.certificates(time.Now())
	f.Certs = certs
	return f, append(problems, broken...).Err()
}

// LoadRules reads the configuration and the policies.
func LoadRules(o Options) (Files, error) {
	c, err := Read(o)
	if c == nil {
		return Files{}, err
	}
	var problems strictyaml.Problems
	if err != nil && !errors.As(err, &problems) {
		return Files{}, err
	}
	f := Files{Config: c}
	for _, p := range []struct {
		written []located
		set     **policy.Set
	}{{c.document.Policy, &f.Policy}, {c.document.Shadow, &f.Shadow}} {
		paths, missing := c.document.existing("policy", p.written)
		problems = append(problems, missing...)
		if len(paths) == 0 {
			continue
		}
		set, err := policy.Load(paths...)
		var inPolicy strictyaml.Problems
		if err != nil && !errors.As(err, &inPolicy) {
			return Files{}, err
		}
		problems = append(problems, inPolicy...)
		*p.set = set
	}
	revoked, broken := c.readRevoked()
	f.Revoked = revoked
	return f, append(problems, broken...).Err()
}

// Read reads the configuration from a file, or from KINDE_ISSUER_URL, KINDE_AUDIENCE and
// the policy files of the command line. If the error is strictyaml.Problems, it comes
// with the result, so that the policy can be checked as well.
func Read(o Options) (*Config, error) {
	d, problems, err := decode(o)
	if err != nil {
		return nil, err
	}
	if err := d.override(o); err != nil {
		return nil, err
	}
	d.setDefaults()
	further := d.validate(o.Secrets)
	c, unread := d.resolve(o.Secrets)
	// What could not be read is not missing as well.
	further = slices.DeleteFunc(append(further, unread...), func(p strictyaml.Problem) bool {
		return slices.ContainsFunc(problems, func(q strictyaml.Problem) bool { return p.Line == 0 || p.Line == q.Line && p.File == q.File })
	})
	return c, append(problems, further...).Err()
}

// override puts what the command line says into its place.
func (d *document) override(o Options) error {
	if len(o.Policy) > 0 {
		d.Policy = nil
		for _, p := range o.Policy {
			path, err := filepath.Abs(p)
			if err != nil {
				return err
			}
			d.Policy = append(d.Policy, located{Value: text(path)})
		}
	}
	if o.GRPC != "" {
		d.Listen.GRPC = located{Value: text(o.GRPC)}
		if !strings.HasPrefix(o.GRPC, "unix://") {
			d.Listen.Socket = nil
		}
	}
	if o.Admin != nil {
		d.Listen.Admin = &located{Value: text(*o.Admin)}
	}
	d.Admin.AllowRemote = d.Admin.AllowRemote || o.AllowRemote
	return nil
}

// decode reads the configuration's form; problems are mistakes in it.
func decode(o Options) (d *document, problems strictyaml.Problems, err error) {
	if o.File == "" {
		d, err = fromEnvironment(o)
		return d, nil, err
	}
	data, unreadable := strictyaml.ReadFile(o.File)
	if unreadable != nil {
		return nil, nil, unreadable
	}
	d = &document{file: o.File}
	return d, strictyaml.Decode(o.File, data, d), nil
}

// fromEnvironment is the configuration of one Kinde business.
func fromEnvironment(o Options) (*document, error) {
	// Kinde's issuers end without a slash; people copy the URL with one.
	issuer, audience := strings.TrimRight(os.Getenv("KINDE_ISSUER_URL"), "/"), os.Getenv("KINDE_AUDIENCE")
	switch {
	case issuer == "":
		return nil, usageError{errors.New("there is no configuration: give --config scopeward.yaml, or set KINDE_ISSUER_URL (https://<subdomain>.kinde.com) and KINDE_AUDIENCE and give --policy policy.yaml")}
	case CheckValue(issuer) != nil:
		return nil, fmt.Errorf("KINDE_ISSUER_URL: %w", CheckValue(issuer))
	case CheckValue(audience) != nil:
		return nil, fmt.Errorf("KINDE_AUDIENCE: %w", CheckValue(audience))
	case audience == "":
		return nil, errors.New("KINDE_AUDIENCE is not set: it is the audience of your API at Kinde (Settings > APIs), which a token must be meant for")
	case len(o.Policy) == 0:
		return nil, errors.New("there is no policy: give --policy policy.yaml")
	}
	return issuedBy("kinde", issuer, strings.FieldsFunc(audience, func(r rune) bool { return r == ',' || r == ' ' })), nil
}

// issuedBy is a document of one provider.
func issuedBy(name, issuer string, audiences []string) *document {
	p := providerSection{Name: located{Value: text(name)}, Issuer: strictyaml.OneOrMore[located]{{Value: text(issuer)}}}
	for _, a := range audiences {
		p.Audiences = append(p.Audiences, text(a))
	}
	return &document{Providers: []strictyaml.Located[providerSection]{{Value: p}}}
}

// Default is the configuration of an empty file.
func Default() *Config { return (&document{}).resolved() }

// ForIssuer is the configuration of one provider with what is default.
func ForIssuer(name, issuer string, audiences []string) *Config {
	return issuedBy(name, issuer, audiences).resolved()
}

// resolved is for a document that needs no validation and names no files.
func (d *document) resolved() *Config {
	d.setDefaults()
	c, _ := d.resolve(NoSecrets)
	return c
}

// ReadListen reads how a service is asked, and no more: mistakes elsewhere in the file
// make no running service unwell.
func ReadListen(o Options) (*Config, error) {
	d := &document{}
	if o.File != "" {
		read, problems, err := decode(o)
		if err != nil {
			return nil, err
		}
		if d = read; len(d.Providers) == 0 && len(problems) > 0 { // nothing of it could be read
			return nil, problems
		}
	}
	v := &validator{file: d.file}
	if o.GRPC != "" {
		d.Listen.GRPC, v.file = located{Value: text(o.GRPC)}, "--addr"
	}
	d.setDefaults()
	v.grpcAddress(d.Listen.GRPC)
	switch {
	case len(v.problems) > 0 && o.GRPC != "":
		return nil, usageError{v.problems}
	case len(v.problems) > 0:
		return nil, v.problems
	case strings.HasSuffix(string(d.Listen.GRPC.Value), ":0"):
		return nil, usageError{errors.New("listen.grpc leaves the port to the system: tell the one that it chose by --addr")}
	}
	c, _ := d.resolve(NoSecrets)
	return c, nil
}

// dir is the folder that relative paths start from.
func (d *document) dir() string { return filepath.Dir(d.file) }

// existing are the files and directories that are there; what is not is a
// mistake at the place where it is named.
func (d *document) existing(what string, written []located) (paths []string, missing strictyaml.Problems) {
	for _, l := range written {
		path := absolute(d.dir(), string(l.Value))
		if _, err := os.Stat(path); err != nil && l.Pos.Line > 0 {
			missing = append(missing, strictyaml.Problem{Pos: l.Pos, Message: strictyaml.Unreadable(what+" "+path, err).Error()})
			continue
		}
		paths = append(paths, path)
	}
	return paths, missing
}

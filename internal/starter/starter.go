// Package starter makes the first files of an installation: a configuration for one
// provider, a policy, and what Envoy needs.
package starter

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"scopeward"
	"scopeward/authz/token/discovery"
	"scopeward/authz/token/provider"
	"scopeward/internal/config"
)

// The names of the files.
const (
	Config = "scopeward.yaml"
	Policy = "policy.yaml"
	Envoy  = "envoy-excerpt.yaml"
)

// Options say what the files are for.
type Options struct {
	Issuer    string
	Preset    string // by default the one that the issuer is known by
	Audiences []string
	CA        string // file of the CAs of the provider's certificates; "" are the system's
	Client    *provider.Client
}

// Made is what was made, and found out meanwhile.
type Made struct {
	Issuer, Preset string
	Metadata       discovery.Metadata // without a Place where none were needed
	Notes          []string           // what a person should know
	Config, Envoy  []byte
}

// Make asks the issuer for its metadata, and makes the files.
func Make(ctx context.Context, o Options) (Made, error) {
	m := Made{Issuer: o.Issuer, Preset: o.Preset}
	if o.Preset == "" {
		if m.Preset = config.PresetOf(o.Issuer); m.Preset != "" {
			m.Notes = append(m.Notes, fmt.Sprintf("the issuer is known: the preset %s is used", m.Preset))
		}
	}
	outline, ok := config.OutlinePreset(m.Preset)
	switch {
	case !ok:
		return m, fmt.Errorf("there is no preset %s; there are %s", strconv.Quote(m.Preset), strings.Join(config.Presets(), ", "))
	case m.Issuer == "" && outline.Issuer == "" && m.Preset != "spiffe":
		return m, errors.New("--issuer is missing: it is the iss of the provider's tokens, a URL")
	}
	if issuer := cmp.Or(m.Issuer, outline.Issuer); !outline.Found && issuer != "" {
		err := m.discover(ctx, issuer, o.Client)
		switch {
		case err != nil && m.Issuer != "": // it may be mistyped
			return m, err
		case err != nil:
			m.Notes = append(m.Notes, "the issuer could not be asked: "+err.Error())
		}
	}
	m.Config = m.configuration(outline, o)
	var err error
	m.Envoy, err = excerpt()
	return m, err
}

// discover reads the metadata. An issuer that is wrong only by the slash at its end is
// mended.
func (m *Made) discover(ctx context.Context, issuer string, client *provider.Client) error {
	var err error
	m.Metadata, err = discovery.Lookup(ctx, client, issuer, false)
	if other, ok := errors.AsType[*discovery.MismatchError](err); ok && strings.TrimRight(other.Issuer, "/") == strings.TrimRight(other.Named, "/") {
		m.Notes = append(m.Notes, fmt.Sprintf("the issuer calls itself %s, and so does the configuration", strconv.Quote(other.Named)))
		m.Issuer = other.Named
		m.Metadata, err = discovery.Lookup(ctx, client, m.Issuer, false)
	}
	if none, ok := errors.AsType[*discovery.NoneError](err); ok && m.Preset == "kinde" {
		m.Notes = append(m.Notes, none.Error()+"; the keys are at Kinde's places")
		return nil
	}
	return err
}

// configuration is scopeward.yaml.
func (m *Made) configuration(outline config.PresetOutline, o Options) []byte {
	var b bytes.Buffer
	about := "docs/providers/README.md"
	if m.Preset != "" {
		about = "docs/providers/" + m.Preset + ".md"
	}
	fmt.Fprintf(&b, "# Made by scopeward init. Every key is in docs/configuration.md; %s tells of the provider.\nproviders:\n", about)
	line := func(format string, args ...any) { fmt.Fprintf(&b, "    "+format+"\n", args...) }
	fmt.Fprintf(&b, "  - name: %s\n", cmp.Or(m.Preset, "main"))
	if m.Preset != "" {
		line("preset: %s", m.Preset)
	}
	if m.Issuer != "" {
		line("issuer: %s", strconv.Quote(m.Issuer))
	}
	audiences := `"<audience of your API>"`
	if len(o.Audiences) > 0 {
		quoted := make([]string, len(o.Audiences))
		for i, a := range o.Audiences {
			quoted[i] = strconv.Quote(a)
		}
		audiences = strings.Join(quoted, ", ")
	}
	for _, text := range outline.Lines {
		if strings.HasPrefix(text, "tenants:") && m.Issuer != "" {
			continue // it is that of one tenant
		}
		line("%s", strings.ReplaceAll(text, "{audience}", audiences))
	}
	if len(o.Audiences) > 0 && !strings.Contains(b.String(), audiences) {
		line("audiences: [%s]", audiences)
	}
	if known := m.Metadata.Algorithms; m.Preset == "" && len(known) > 0 && !slices.Contains(known, "RS256") {
		usable := slices.DeleteFunc(slices.Clone(known), func(alg string) bool { return !slices.Contains(config.Asymmetric, alg) })
		line("algorithms: [%s]", strings.Join(usable, ", "))
	}
	if o.CA != "" {
		line("ca: %s", strconv.Quote(o.CA))
	}
	b.WriteString("headers: # what an allowed request carries to your service\n  x-auth-subject: identity.subject\n  x-auth-scopes: identity.scopes\npolicy: [" + Policy + "]\n")
	return b.Bytes()
}

// FirstPolicy is a policy for who has no OpenAPI document.
const FirstPolicy = `# Made by scopeward init. Without a rule a request is denied; docs/policy.md tells of all that a rule can say.
version: 1
rules:
  - match: GET /healthz
    public: true
  - match: GET /hello # an example: write those of your API
    scopes: [read:hello]
`

// excerpt is what an Envoy needs beside its own configuration: the filters and the cluster
// of envoy/minimal.yaml.
func excerpt() ([]byte, error) {
	minimal, err := scopeward.Bootstraps.ReadFile("envoy/minimal.yaml")
	if err != nil {
		return nil, err
	}
	filters, ok := block(string(minimal), "http_filters:")
	cluster, there := block(string(minimal), "- name: scopeward")
	if !ok || !there {
		return nil, errors.New("envoy/minimal.yaml has no filters or no cluster of Scopeward")
	}
	return []byte(`# Made by scopeward init. Two parts of an Envoy configuration; envoy/minimal.yaml in Scopeward's repository is complete, and docs/deploy/envoy.md tells why.
# The HTTP connection manager needs these settings, and these filters before the router:
use_remote_address: true
normalize_path: false
merge_slashes: false
path_with_escaped_slashes_action: KEEP_UNCHANGED
` + filters + "\n# And this cluster:\nclusters:\n" + indent(cluster, "  ")), nil
}

// block is the part of a text that begins with a line and goes on with the lines that are
// indented more, without the indentation of the first.
func block(text, begin string) (part string, ok bool) {
	var b strings.Builder
	depth := -1
	for l := range strings.Lines(text) {
		margin := len(l) - len(strings.TrimLeft(l, " "))
		switch {
		case depth < 0 && strings.TrimSpace(l) == begin:
			depth = margin
		case depth < 0:
			continue
		case margin <= depth:
			return b.String(), true
		}
		b.WriteString(l[depth:])
	}
	return b.String(), depth >= 0
}

func indent(text, by string) string {
	var b strings.Builder
	for l := range strings.Lines(text) {
		b.WriteString(by + l)
	}
	return b.String()
}

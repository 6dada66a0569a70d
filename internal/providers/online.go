package providers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"scopeward/authz/token/discovery"
	"scopeward/internal/config"
)

// Finding is what a provider answered to a question of [Provider.Probe].
type Finding struct {
	Provider string `json:"provider"`
	Endpoint string `json:"endpoint"` // discovery, keys, jwks, profile, introspection, lookup or token
	URL      string `json:"url,omitempty"`
	OK       bool   `json:"ok"`
	Text     string `json:"text"` // what was found, or why it was not
}

// Probe asks the providers of a configuration, as [Provider.Probe] does.
func Probe(ctx context.Context, c *config.Config) (all []Finding) {
	for _, p := range New(c, slog.New(slog.DiscardHandler), nil, nil) {
		all = append(all, p.Probe(ctx)...)
	}
	return all
}

// Probe fetches the metadata and the keys, as serve does, and says what it found. It sends
// no token and no secret.
func (built *Provider) Probe(ctx context.Context) []Finding {
	var all []Finding
	var m discovery.Metadata
	add := func(endpoint, url string, err error, text string) {
		f := Finding{built.Name, endpoint, url, err == nil, text}
		if err != nil {
			f.Text = err.Error()
		}
		all = append(all, f)
	}
	if built.Discovery != nil {
		err := built.Discovery.LookUp(ctx)
		m, _, _ = built.Discovery.State()
		text := "the issuer's metadata were read"
		if m.Place == "" {
			text = "the issuer publishes no metadata; what is not written is at Kinde's places"
		}
		add("discovery", m.Place, err, text)
	}
	for _, e := range built.Endpoints {
		if e.Place == nil {
			continue
		}
		url, err := e.Place.URL(ctx)
		add(e.Name, url, err, origin(e.Name, url, m, built.Discovery != nil))
	}
	if built.Keys != nil {
		err := built.Keys.Fetch(ctx)
		if _, missing := built.Keys.Ready(); err == nil && missing != "" {
			err = errors.New(missing)
		}
		add("keys", "", err, fmt.Sprintf("%d that verify signatures", built.Keys.Held()))
	}
	return all
}

// origin says where an endpoint's URL comes from.
func origin(name, url string, m discovery.Metadata, discovered bool) string {
	member, named := "jwks_uri", m.JWKS
	switch name {
	case "profile":
		member, named = "userinfo_endpoint", m.Userinfo
	case "introspection":
		member, named = "introspection_endpoint", m.Introspection
	}
	switch {
	case !discovered:
		return "as it is written"
	case named == url:
		return "as the metadata say (" + member + ")"
	case m.Place == "":
		return "by default, since there are no metadata"
	default:
		return "by default, since the metadata name no " + member
	}
}

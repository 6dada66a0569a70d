// Package discovery finds a provider's endpoints by the metadata that its issuer
// publishes (OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3).
//
// [Lookup] reads the metadata once, for tools. A [Source] keeps them for a server: it
// reads them again in the background and keeps the last good ones through faults.
package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"scopeward/authz/token"
	"scopeward/authz/token/provider"
	"scopeward/internal/loopback"
)

// Metadata are the endpoints that an issuer publishes. What it does not name is empty.
type Metadata struct {
	Place         string   // the URL that the metadata were read from
	Issuer        string   // exactly the issuer that was asked for
	JWKS          string   // jwks_uri
	Userinfo      string   // userinfo_endpoint
	Introspection string   // introspection_endpoint (RFC 8414)
	Token         string   // token_endpoint
	Device        string   // device_authorization_endpoint (RFC 8628)
	Algorithms    []string // id_token_signing_alg_values_supported
}

// NoneError says that an issuer publishes no metadata: both places answer 404 (or 410).
// Nothing else, such as a fault or a web page, is this error.
type NoneError struct{ Issuer string }

func (e *NoneError) Error() string {
	return e.Issuer + " publishes no metadata: both of its well-known places answer 404"
}

// MismatchError says that the metadata are of another issuer, which may not speak for
// the one that was asked for.
type MismatchError struct{ Place, Issuer, Named string }

func (e *MismatchError) Error() string {
	text := fmt.Sprintf("the metadata at %s are of the issuer %q, and the configured issuer is %q", e.Place, e.Named, e.Issuer)
	if strings.TrimRight(e.Issuer, "/") == strings.TrimRight(e.Named, "/") {
		text += "; they differ only in the slash at the end: write the issuer as the metadata do"
	}
	return text
}

// Lookup reads the metadata of an issuer: first where OpenID Connect Discovery puts them,
// then where RFC 8414 does. What the first document does not name is taken from the
// second. insecure allows endpoints without TLS beyond this machine.
//
// The error is a *[NoneError], a *[MismatchError], or says why nothing is known now.
func Lookup(ctx context.Context, client *provider.Client, issuer string, insecure bool) (Metadata, error) {
	places, err := wellKnown(issuer, insecure)
	if err != nil {
		return Metadata{}, err
	}
	var found Metadata
	for _, place := range places {
		m, err := read(ctx, client, place, issuer, insecure)
		if none := (*NoneError)(nil); errors.As(err, &none) {
			continue
		}
		if err != nil {
			if found.Place != "" { // the first document is good; the second is an extra
				break
			}
			return Metadata{}, err
		}
		if found = found.or(m); found.complete() {
			break
		}
	}
	if found.Place == "" {
		return Metadata{}, &NoneError{issuer}
	}
	return found, nil
}

// complete reports whether m names every endpoint.
func (m Metadata) complete() bool {
	return m.JWKS != "" && m.Userinfo != "" && m.Introspection != "" && m.Token != "" && m.Device != ""
}

// or fills in what m does not name.
func (m Metadata) or(other Metadata) Metadata {
	if m.Place == "" {
		return other
	}
	for _, f := range [...]struct {
		to   *string
		from string
	}{
		{&m.JWKS, other.JWKS}, {&m.Userinfo, other.Userinfo}, {&m.Introspection, other.Introspection},
		{&m.Token, other.Token}, {&m.Device, other.Device},
	} {
		if *f.to == "" {
			*f.to = f.from
		}
	}
	return m
}

// wellKnown returns the places of an issuer's metadata.
func wellKnown(issuer string, insecure bool) ([]string, error) {
	if err := CheckEndpoint(issuer, issuer, insecure); err != nil {
		return nil, fmt.Errorf("the issuer %q can't be looked up: %w", issuer, err)
	}
	u, err := url.Parse(issuer)
	if err != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("the issuer %q can't be looked up: it has a query, which no issuer has (RFC 8414 section 2)", issuer)
	}
	origin, path := u.Scheme+"://"+u.Host, strings.TrimRight(u.EscapedPath(), "/")
	return []string{
		origin + path + "/.well-known/openid-configuration",
		origin + "/.well-known/oauth-authorization-server" + path,
	}, nil
}

// read gets the metadata from one place.
func read(ctx context.Context, client *provider.Client, place, issuer string, insecure bool) (Metadata, error) {
	req, err := http.NewRequest(http.MethodGet, place, nil)
	if err != nil {
		return Metadata{}, fmt.Errorf("%s is not a URL", place)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(ctx, req)
	if err != nil {
		return Metadata{}, err
	}
	switch resp.Status {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return Metadata{}, &NoneError{issuer}
	default:
		return Metadata{}, resp.Unavailable("%s answers %d instead of metadata", place, resp.Status)
	}
	d, err := token.ReadClaims(resp.Body)
	named := d.Text("issuer")
	if err != nil || named == "" {
		return Metadata{}, resp.Unavailable("what %s answers is no metadata: it is not a JSON object with an issuer", place)
	}
	if named != issuer {
		return Metadata{}, &MismatchError{place, issuer, named}
	}
	m := Metadata{
		Place: place, Issuer: named, JWKS: d.Text("jwks_uri"), Userinfo: d.Text("userinfo_endpoint"),
		Introspection: d.Text("introspection_endpoint"), Token: d.Text("token_endpoint"), Device: d.Text("device_authorization_endpoint"),
	}
	m.Algorithms, _, _ = d.Texts("id_token_signing_alg_values_supported")
	return m, m.check(insecure)
}

// check refuses endpoints that a token or a secret must not be sent to.
func (m Metadata) check(insecure bool) error {
	for _, e := range []struct{ name, url string }{
		{"jwks_uri", m.JWKS}, {"userinfo_endpoint", m.Userinfo}, {"introspection_endpoint", m.Introspection},
		{"token_endpoint", m.Token}, {"device_authorization_endpoint", m.Device},
	} {
		if e.url == "" {
			continue
		}
		if err := CheckEndpoint(m.Issuer, e.url, insecure); err != nil {
			return fmt.Errorf("the metadata at %s name a %s that is not used: %w", m.Place, e.name, err)
		}
	}
	return nil
}

// CheckEndpoint reports why tokens and secrets must not be sent to an endpoint of an issuer.
func CheckEndpoint(issuer, endpoint string, insecure bool) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("it is not a URL with https:// and a host")
	case u.User != nil || u.Fragment != "":
		return errors.New("it has a user name or a fragment")
	}
	own, err := url.Parse(issuer)
	here := err == nil && loopback.Is(own.Hostname())
	switch {
	case loopback.Reaches(u.Hostname()) && !here:
		return fmt.Errorf("it is on this machine (%s), and the issuer is not", u.Host)
	case u.Scheme == "http" && !loopback.Is(u.Hostname()) && !insecure:
		return errors.New("it is not encrypted (http://)")
	}
	return nil
}

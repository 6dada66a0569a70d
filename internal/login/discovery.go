package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"scopeward/internal/loopback"
)

// Endpoints are the provider's URLs that the flow needs.
type Endpoints struct {
	Device string // device_authorization_endpoint (RFC 8628 §4)
	Token  string // token_endpoint
}

// metadata is the part of RFC 8414 §2 and OpenID Connect Discovery §3 that counts here.
type metadata struct {
	Issuer string `json:"issuer"`
	Device string `json:"device_authorization_endpoint"`
	Token  string `json:"token_endpoint"`
}

// discover finds what is missing in the endpoints by the issuer's metadata: where OpenID
// Connect Discovery §4 puts it, then where RFC 8414 §3 does. Metadata of another issuer
// ends the search: who answers here may not speak for it.
func discover(ctx context.Context, client *http.Client, issuer string, known Endpoints) (Endpoints, error) {
	places, err := wellKnown(issuer)
	if err != nil {
		return known, err
	}
	var tried []string
	found := false
	for _, place := range places {
		m, reason, err := fetch(ctx, client, place)
		switch {
		case err != nil:
			return known, err
		case reason != "":
			tried = append(tried, place+" "+reason)
			continue
		case m.Issuer != issuer:
			return known, mismatch(issuer, m.Issuer)
		}
		found = true
		known = known.or(Endpoints{Device: m.Device, Token: m.Token})
		if known.Device != "" && known.Token != "" {
			return known, nil
		}
	}
	switch {
	case !found:
		return known, fmt.Errorf("%s publishes no metadata: %s; is it the issuer? If it has none, give --device-endpoint and --token-endpoint",
			issuer, strings.Join(tried, ", "))
	case known.Device == "":
		return known, fmt.Errorf("%s does not offer the device authorization flow: its metadata has no device_authorization_endpoint; "+
			"switch the flow on at the provider, or give --device-endpoint if it has one", issuer)
	default:
		return known, fmt.Errorf("the metadata of %s has no token_endpoint: give --token-endpoint", issuer)
	}
}

func (e Endpoints) or(other Endpoints) Endpoints {
	if e.Device == "" {
		e.Device = other.Device
	}
	if e.Token == "" {
		e.Token = other.Token
	}
	return e
}

func mismatch(issuer, named string) error {
	advice := "nobody else may speak for it, so this is refused"
	if strings.TrimRight(issuer, "/") == strings.TrimRight(named, "/") {
		advice = "give --issuer exactly so"
	}
	return fmt.Errorf("the metadata that %s publishes is of the issuer %s: %s", issuer, quote(named), advice)
}

// wellKnown are the places of an issuer's metadata.
func wellKnown(issuer string) ([]string, error) {
	u, err := endpoint(issuer)
	if err != nil {
		return nil, fmt.Errorf("--issuer %w", err)
	}
	if u.RawQuery != "" {
		return nil, errors.New("--issuer has a query, which an issuer never has (RFC 8414 section 2)")
	}
	origin, path := u.Scheme+"://"+u.Host, strings.TrimRight(u.EscapedPath(), "/")
	return []string{
		origin + path + "/.well-known/openid-configuration",
		origin + "/.well-known/oauth-authorization-server" + path,
	}, nil
}

// endpoint reads a URL to which codes and tokens may be sent.
func endpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("is no URL with https:// and a host: %s", quote(text))
	case u.User != nil:
		return nil, errors.New("has a user name in it, which does not belong there")
	case u.Fragment != "":
		return nil, fmt.Errorf("has a fragment (#): %s", quote(text))
	case u.Scheme == "http" && !loopback.Is(u.Hostname()):
		return nil, fmt.Errorf("is not encrypted: %s; http:// is for this machine only", quote(text))
	}
	return u, nil
}

// fetch gets metadata from one place. The reason says why there is none; an error ends
// the search.
func fetch(ctx context.Context, client *http.Client, place string) (m metadata, reason string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return m, "", err
	}
	req.Header.Set("Accept", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return m, "", unreachable(place, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return m, fmt.Sprintf("answers %d", res.StatusCode), nil
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return m, "", unreachable(place, err)
	}
	if json.Unmarshal(body, &m) != nil {
		return m, "answers what is no JSON object", nil
	}
	return m, "", nil
}

// unreachable says what net/http found, without its own words around it.
func unreachable(at string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &dns):
		return fmt.Errorf("%s can't be asked: no address is known for %s; is it spelled right?", at, dns.Name)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s did not answer within %s", at, patience)
	}
	return fmt.Errorf("%s can't be asked: %w", at, err)
}

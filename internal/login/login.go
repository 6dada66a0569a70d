// Package login gets an access token for a person by the device authorization flow
// (RFC 8628): the person allows it in a browser, which may be on another device.
package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/oauth2"

	"scopeward/authz/token"
	"scopeward/authz/token/discovery"
	"scopeward/authz/token/provider"
)

// Endpoints are the provider's URLs that the flow needs.
type Endpoints struct {
	Device string // device_authorization_endpoint (RFC 8628 §4)
	Token  string // token_endpoint
}

// Options are what the flow needs to know.
type Options struct {
	Issuer    string // whose metadata tells the endpoints that are missing; unused if both are there
	Endpoints Endpoints
	ClientID  string   // of a public client that may use the flow
	Scopes    []string // may be empty
	Audience  string   // asked for if not empty; a provider's own parameter (Kinde, Auth0)

	Transport http.RoundTripper // default: http.DefaultTransport, with the environment's proxies
	// Open shows a URL in a browser; nil: it is only printed.
	Open   func(url string) error
	Screen Screen
}

// How long a code may be waited for, and the pauses between two polls. What a provider
// asks for beyond these bounds is taken for a mistake.
const (
	defaultLife = 10 * time.Minute // where the provider does not say; it must (RFC 8628 §3.2)
	maxLife     = 24 * time.Hour
	maxInterval = 10 * time.Minute
)

// Run goes through the flow and returns the access token. The error says what to do; it
// is context.Canceled if ctx was cancelled, and never contains a token or device code.
func Run(ctx context.Context, o Options) (string, error) {
	w := &wire{ctx: ctx, base: o.Transport, skewed: o.Screen.skewed}
	if w.base == nil {
		w.base = http.DefaultTransport
	}
	client := &http.Client{Transport: w}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, client)
	endpoints, err := o.find(ctx, w)
	if err != nil {
		return "", err
	}
	config := &oauth2.Config{ClientID: o.ClientID, Scopes: o.Scopes, Endpoint: oauth2.Endpoint{
		DeviceAuthURL: endpoints.Device, TokenURL: endpoints.Token, AuthStyle: oauth2.AuthStyleInParams,
	}}
	device, err := o.begin(ctx, config)
	if err != nil {
		return "", err
	}
	o.show(device)
	wait := o.Screen.wait(device.Expiry)
	w.polling, w.fault = endpoints.Token, wait.fault
	got, err := config.DeviceAccessToken(ctx, device)
	wait.end()
	switch {
	case errors.Is(err, context.DeadlineExceeded): // of the code: a single poll's is made a slow_down
		return "", errExpired()
	case err != nil:
		return "", o.refused(endpoints.Token, err)
	}
	return got.AccessToken, o.check(got)
}

// find completes the endpoints, and refuses those to which nothing may be sent.
func (o Options) find(ctx context.Context, transport http.RoundTripper) (Endpoints, error) {
	e := o.Endpoints
	for flag, url := range map[string]string{"--device-endpoint": e.Device, "--token-endpoint": e.Token} {
		if err := discovery.CheckEndpoint(url, url, false); url != "" && err != nil {
			return e, fmt.Errorf("%s %s is not used: %w", flag, quote(url), err)
		}
	}
	if e.Device != "" && e.Token != "" {
		return e, nil
	}
	client := provider.New(provider.Options{Transport: transport, Timeout: patience, MayBeAbsent: true})
	m, err := discovery.Lookup(ctx, client, o.Issuer, false)
	if none := (*discovery.NoneError)(nil); errors.As(err, &none) {
		return e, fmt.Errorf("%w; is it the issuer? If it has none, give --device-endpoint and --token-endpoint", err)
	}
	if err != nil {
		return e, err
	}
	e = Endpoints{cmp.Or(e.Device, m.Device), cmp.Or(e.Token, m.Token)}
	switch {
	case e.Device == "":
		return e, fmt.Errorf("%s does not offer the device authorization flow: its metadata have no device_authorization_endpoint; "+
			"switch the flow on at the provider, or give --device-endpoint if it has one", o.Issuer)
	case e.Token == "":
		return e, fmt.Errorf("the metadata of %s have no token_endpoint: give --token-endpoint", o.Issuer)
	}
	return e, nil
}

// begin asks for the codes (RFC 8628 §3.1, §3.2).
func (o Options) begin(ctx context.Context, config *oauth2.Config) (*oauth2.DeviceAuthResponse, error) {
	var more []oauth2.AuthCodeOption
	if o.Audience != "" {
		more = append(more, oauth2.SetAuthURLParam("audience", o.Audience))
	}
	d, err := config.DeviceAuth(ctx, more...)
	if err != nil {
		return nil, o.refused(config.Endpoint.DeviceAuthURL, err)
	}
	if d == nil || d.DeviceCode == "" || d.UserCode == "" || d.VerificationURI == "" {
		return nil, fmt.Errorf("%s gives no device_code, user_code or verification_uri: it is not the endpoint of RFC 8628", config.Endpoint.DeviceAuthURL)
	}
	return d, sane(d)
}

// sane refuses what a provider must not make a terminal, a browser or a clock do.
func sane(d *oauth2.DeviceAuthResponse) error {
	for _, text := range []string{d.UserCode, d.VerificationURI, d.VerificationURIComplete} {
		if strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
			return errors.New("the provider gives a code or an address with control characters, which is not shown")
		}
	}
	for _, text := range []string{d.VerificationURI, d.VerificationURIComplete} {
		if u, err := url.Parse(text); text != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
			return fmt.Errorf("the provider gives an address that no browser should open: %s", quote(text))
		}
	}
	if d.Interval < 0 || d.Interval > int64(maxInterval/time.Second) {
		return fmt.Errorf("the provider asks for a poll every %d seconds, which can't be meant", d.Interval)
	}
	switch left := time.Until(d.Expiry); {
	case d.Expiry.IsZero():
		d.Expiry = time.Now().Add(defaultLife)
	case left <= 0 || left > maxLife:
		return errors.New("the provider gives a code that has expired already, or lasts longer than a day (expires_in)")
	}
	return nil
}

// show tells the person where to go.
func (o Options) show(d *oauth2.DeviceAuthResponse) {
	o.Screen.code(d.VerificationURI, d.VerificationURIComplete, d.UserCode)
	if o.Open == nil {
		return
	}
	address := d.VerificationURI
	if d.VerificationURIComplete != "" {
		address = d.VerificationURIComplete
	}
	if err := o.Open(address); err != nil {
		o.Screen.note("no browser could be opened: %v; open the address yourself", err)
	}
}

// check refuses a token that nobody could send as a bearer token, and says what the
// provider did not grant.
func (o Options) check(got *oauth2.Token) error {
	if kind := got.Type(); !strings.EqualFold(kind, "Bearer") {
		return fmt.Errorf("the provider gives a token of the type %s, not a bearer token", quote(kind))
	}
	if _, _, err := token.FromAuthorization("Bearer "+got.AccessToken, token.MaxLength); err != nil {
		return fmt.Errorf("the provider gives a token that can't be sent: %w", err)
	}
	granted, ok := got.Extra("scope").(string)
	if !ok {
		return nil // then it is what was asked for (RFC 6749 §5.1)
	}
	var missing []string
	for _, s := range o.Scopes {
		if !slices.Contains(strings.Fields(granted), s) {
			missing = append(missing, s)
		}
	}
	if len(missing) > 0 {
		o.Screen.note("the provider did not grant %s", quote(strings.Join(missing, " ")))
	}
	return nil
}

// refused says what an error of the library means, and what to do. What the provider
// says of it is shown, its body never.
func (o Options) refused(at string, err error) error {
	var answer *oauth2.RetrieveError
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case !errors.As(err, &answer):
		var network *url.Error
		if errors.As(err, &network) {
			return unreachable(at, err)
		}
		return fmt.Errorf("%s answers, but not as OAuth does: is it the right endpoint?", at)
	}
	said := ""
	if answer.ErrorDescription != "" {
		said = "; the provider says: " + quote(answer.ErrorDescription)
	}
	switch answer.ErrorCode {
	case "access_denied":
		return fmt.Errorf("the request was denied: no token%s", said)
	case "expired_token":
		return errExpired()
	case "invalid_client":
		return fmt.Errorf("the provider does not know the client ID %s as one without a secret: look it up at the provider (--client-id)%s", quote(o.ClientID), said)
	case "unauthorized_client", "unsupported_grant_type":
		return fmt.Errorf("the client %s may not use the device authorization flow: allow it at the provider%s", quote(o.ClientID), said)
	case "invalid_scope":
		return fmt.Errorf("the provider refuses a scope of %s (--scope)%s", quote(strings.Join(o.Scopes, " ")), said)
	case "invalid_target":
		return fmt.Errorf("the provider refuses the audience %s (--audience)%s", quote(o.Audience), said)
	case "invalid_grant":
		return fmt.Errorf("the provider does not know the code any more: run the command again%s", said)
	case "":
		return fmt.Errorf("%s answers %d, and not as OAuth does: is it the right endpoint?", at, answer.Response.StatusCode)
	}
	return fmt.Errorf("%s refuses with %s%s", at, quote(answer.ErrorCode), said)
}

func errExpired() error {
	return errors.New("the code has expired before anybody allowed it: run the command again")
}

// Package provider makes HTTP requests to an identity provider that are bounded
// in time, size, number and destination: a provider may be slow, broken or in
// somebody else's hands.
package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"scopeward/authz/token"
)

// The bounds that are not configured.
const (
	MaxBody       = 1 << 20         // bytes of an answer
	maxRedirects  = 3               // within one origin
	MaxRetryAfter = 5 * time.Minute // longest wait that a provider can impose
)

// Options configure a [Client].
type Options struct {
	// Transport sends the requests; default: one like http.DefaultTransport, with
	// the proxies of the environment.
	Transport http.RoundTripper
	// RootCAs are the authorities of the provider's certificate, if Transport is not
	// set; default: those of the system.
	RootCAs *x509.CertPool
	// Timeout bounds one request with its redirects and its body; default 5 s.
	Timeout time.Duration
	// MaxInFlight bounds the requests at one time, so that a provider that hangs
	// does not collect goroutines and connections; default 256.
	MaxInFlight int
	// Now is the clock for Retry-After dates; default time.Now.
	Now func() time.Time
}

// Client makes requests. It keeps no cookies.
type Client struct {
	http  http.Client
	slots chan struct{}
	now   func() time.Time
}

// New makes a client.
func New(opts Options) *Client {
	if opts.Timeout <= 0 {
		opts.Timeout = 5 * time.Second
	}
	if opts.MaxInFlight <= 0 {
		opts.MaxInFlight = 256
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Transport == nil {
		opts.Transport = newTransport(opts)
	}
	return &Client{
		http:  http.Client{Transport: opts.Transport, Timeout: opts.Timeout, CheckRedirect: sameOrigin},
		slots: make(chan struct{}, opts.MaxInFlight),
		now:   opts.Now,
	}
}

func newTransport(opts Options) http.RoundTripper {
	connections := opts.MaxInFlight
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: opts.RootCAs, MinVersion: tls.VersionTLS12},
		OnProxyConnectResponse: proxyAccepts,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           connections,
		MaxIdleConnsPerHost:    connections, // all go to one host
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// proxyError is a proxy that does not make the connection.
type proxyError struct{ status int }

func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy of the environment answered %d %s to CONNECT", e.status, http.StatusText(e.status))
}

func proxyAccepts(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return &proxyError{answer.StatusCode}
	}
	return nil
}

// Response is a complete answer, whatever its status.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // at most MaxBody
	// RetryAfter is what the header of that name asks for (RFC 9110 §10.2.3), at
	// most MaxRetryAfter; zero if there is none.
	RetryAfter time.Duration
}

// Unavailable makes an error of an answer that does not tell whether a token is
// valid.
func (r *Response) Unavailable(format string, args ...any) *token.UnavailableError {
	return &token.UnavailableError{Reason: fmt.Sprintf(format, args...), RetryAfter: r.RetryAfter}
}

// Do sends a request and reads the whole answer. The error is a
// *[token.UnavailableError] that contains neither the request's headers nor its
// body nor its query.
func (c *Client) Do(ctx context.Context, req *http.Request) (*Response, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		return nil, &token.UnavailableError{Reason: "too many requests to the provider are waiting", RetryAfter: time.Second}
	}
	resp, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		return nil, unreachable(req.URL, err)
	}
	defer resp.Body.Close()
	// One byte more tells a body that fits exactly from one that was cut.
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	if err != nil {
		return nil, unreachable(req.URL, err)
	}
	if len(body) > MaxBody {
		return nil, &token.UnavailableError{Reason: fmt.Sprintf("the answer of %s is larger than 1 MiB", origin(req.URL))}
	}
	return &Response{
		Status: resp.StatusCode, Header: resp.Header, Body: body,
		RetryAfter: c.retryAfter(resp.Header.Get("Retry-After")),
	}, nil
}

var (
	errElsewhere = errors.New("it redirects to another origin, which is not followed")
	errTooOften  = errors.New("it redirects too often")
)

// sameOrigin keeps requests, and the tokens in them, at the configured origin.
func sameOrigin(req *http.Request, via []*http.Request) error {
	if origin(req.URL) != origin(via[0].URL) {
		return errElsewhere
	}
	if len(via) > maxRedirects {
		return errTooOften
	}
	return nil
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// unreachable makes an error of one of net/http's, of which some quote the
// provider's answer: that may be anything, even the token itself.
func unreachable(u *url.URL, err error) error {
	reason := "cannot get an answer from " + origin(u)
	var (
		timeout     net.Error
		dns         *net.DNSError
		connection  *net.OpError
		certificate *tls.CertificateVerificationError
		untrusted   x509.UnknownAuthorityError
		proxy       *proxyError
	)
	switch {
	case errors.As(err, &proxy):
		return &token.UnavailableError{Reason: reason, Err: proxy}
	case errors.As(err, &dns):
		return &token.UnavailableError{Reason: reason, Err: dns}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &token.UnavailableError{Reason: reason, Err: context.DeadlineExceeded}
	case errors.As(err, &connection):
		return &token.UnavailableError{Reason: reason, Err: connection}
	case errors.As(err, &certificate):
		if errors.As(err, &untrusted) {
			reason += " (if its CA is your own, name it in the provider's ca)"
		}
		return &token.UnavailableError{Reason: reason, Err: certificate}
	}
	for _, known := range []error{errElsewhere, errTooOften, context.Canceled, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return &token.UnavailableError{Reason: reason, Err: known}
		}
	}
	return &token.UnavailableError{Reason: reason + ": what it answers is not sound HTTP"}
}

// retryAfter reads seconds or a date.
func (c *Client) retryAfter(value string) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		wait = date.Sub(c.now())
	}
	return min(max(wait, 0), MaxRetryAfter)
}

// Package provider makes HTTP requests to an identity provider that are bounded
// in time, size, number and destination: a provider may be slow, broken or in
// somebody else's hands.
package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	// Now is the clock of Retry-After and of the circuit breaker; default time.Now.
	Now    func() time.Time
	Logger *slog.Logger // hears when the provider is left alone, and when no more; default: discard

	// MayBeAbsent takes 404 and 410 for answers like others, as of metadata, which not all
	// providers publish. Else they say that the endpoint is not there.
	MayBeAbsent bool
	// NoRedirects follows none. By default those within one origin are followed.
	NoRedirects bool

	// Observe, if set, hears of each request: how it ended ([Answered] and so on)
	// and how long it took. It must be quick.
	Observe func(outcome string, d time.Duration)
}

// How a request ended.
const (
	Answered  = "answered"  // with a status that concerns the request
	Throttled = "throttled" // 429: the provider has enough
	Failed    = "failed"    // 5xx, or nothing that can be read
	Timeout   = "timeout"   // no whole answer in time
	Left      = "left"      // the caller did not wait
	Skipped   = "skipped"   // it was not sent
)

// ErrSkipped is within the error of a request that was not sent, since the
// provider is sick or too many wait for it.
var ErrSkipped = errors.New("it is not asked now")

// Client makes requests to one endpoint of a provider. It keeps no cookies.
//
// After five failures in a row (no answer, 404, 429, 5xx) the provider is left alone for
// a second or less, then up to ten as it goes on; each time one request finds out
// whether it is well again. One that answers 429 or 503 with a Retry-After is left
// alone for that long, at most a minute. Meanwhile no request is sent.
type Client struct {
	http    http.Client
	slots   chan struct{}
	now     func() time.Time
	breaker breaker
	log     *slog.Logger
	observe func(string, time.Duration)

	mayBeAbsent bool
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
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Observe == nil {
		opts.Observe = func(string, time.Duration) {}
	}
	redirects := sameOrigin
	if opts.NoRedirects {
		redirects = func(*http.Request, []*http.Request) error { return errRedirect }
	}
	return &Client{
		http:    http.Client{Transport: opts.Transport, Timeout: opts.Timeout, CheckRedirect: redirects},
		slots:   make(chan struct{}, opts.MaxInFlight),
		now:     opts.Now,
		breaker: breaker{now: opts.Now},
		log:     opts.Logger,
		observe: opts.Observe,

		mayBeAbsent: opts.MayBeAbsent,
	}
}

// State tells whether requests are sent, and what the latest failure was since the
// last success ("" if there was none).
func (c *Client) State() (up bool, reason string) { return c.breaker.state() }

// LastFault is the latest failure, also if requests have succeeded since.
func (c *Client) LastFault() Fault { return c.breaker.lastFault() }

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

// NewPost makes a request that changes nothing although it is a POST, and so may be made
// again if the provider has closed the connection that it went out on.
func NewPost(url, contentType string, body []byte) (*http.Request, error) {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header["Idempotency-Key"] = nil // not sent: it tells net/http so
	return req, nil
}

// Do sends a request and reads the whole answer. The error is a
// *[token.UnavailableError] that contains neither the request's headers nor its
// body nor its query.
func (c *Client) Do(ctx context.Context, req *http.Request) (*Response, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		c.observe(Skipped, 0)
		return nil, skipped("too many requests to the provider are waiting", time.Second)
	}
	p, wait, ok := c.breaker.enter()
	if !ok {
		c.observe(Skipped, 0)
		return nil, leftAlone(wait)
	}
	start := time.Now()
	ctx, req, span := beginSpan(ctx, req)
	resp, err := c.send(ctx, req)
	outcome := c.note(p, req.URL, resp, err)
	endSpan(span, resp, err, outcome)
	c.observe(outcome, time.Since(start))
	return resp, err
}

// Outage is the error that a request would get without being sent; nil if it would be
// sent.
func (c *Client) Outage() *token.UnavailableError {
	if wait, ok := c.breaker.peek(); !ok {
		return leftAlone(wait)
	}
	return nil
}

func leftAlone(wait time.Duration) *token.UnavailableError {
	return skipped("the provider is left alone, since it fails or asks for it", wait)
}

func skipped(reason string, wait time.Duration) *token.UnavailableError {
	return &token.UnavailableError{Reason: reason, RetryAfter: wait, Err: ErrSkipped}
}

// note tells the breaker, and whoever operates the service, how a request ended.
func (c *Client) note(p pass, u *url.URL, resp *Response, err error) (outcome string) {
	switch {
	case errors.Is(err, context.Canceled):
		c.breaker.left(p)
		return Left
	case err == nil && (!resp.ails() || c.mayBeAbsent && resp.missing()):
		if c.breaker.succeeded(p) {
			c.log.Info("the provider is well again", slog.String("url", place(u)))
		}
		return Answered
	}
	outcome = Failed
	var reason string
	var asked time.Duration
	missing := false
	if err == nil {
		reason = fmt.Sprintf("%s answers %d", origin(u), resp.Status)
		if missing = resp.missing(); missing {
			reason = fmt.Sprintf("%s answers %d: is its URL right?", place(u), resp.Status)
		}
		if resp.Status == http.StatusTooManyRequests || resp.Status == http.StatusServiceUnavailable {
			asked = resp.RetryAfter
		}
		if resp.Status == http.StatusTooManyRequests {
			outcome = Throttled
		}
	} else {
		reason = err.Error()
		if errors.Is(err, context.DeadlineExceeded) {
			outcome = Timeout
		}
	}
	if c.breaker.failed(p, failure{reason, asked, missing}) {
		c.log.Warn("the provider fails or asks to be left alone: it is asked seldom until it is well again",
			slog.String("url", place(u)), slog.String("reason", reason))
	}
	return outcome
}

// send makes the request and reads the whole answer.
func (c *Client) send(ctx context.Context, req *http.Request) (*Response, error) {
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
		RetryAfter: c.retryAfter(resp.Header.Get("Retry-After")), place: place(req.URL),
	}, nil
}

var (
	errElsewhere = errors.New("it redirects to another origin, which is not followed")
	errTooOften  = errors.New("it redirects too often")
	errRedirect  = errors.New("it redirects, which is not followed")
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

// place is a URL without its query.
func place(u *url.URL) string { return origin(u) + u.EscapedPath() }

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
	for _, known := range []error{errElsewhere, errTooOften, errRedirect, context.Canceled, io.EOF, io.ErrUnexpectedEOF} {
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

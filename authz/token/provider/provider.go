// Package provider makes bounded HTTP requests to an identity provider.
package provider

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"scopeward/authz/token"
)

// Options configure a [Client].
type Options struct {
	HTTP        *http.Client  // its Transport is used; default: a clone of http.DefaultTransport
	Timeout     time.Duration // of one request with its redirects and body; default 5 s
	MaxInFlight int           // requests at the same time; more are unavailable at once; default 256
	Now         func() time.Time
	Logger      *slog.Logger
}

// Client makes bounded requests.
type Client struct{ opts Options }

// New makes a client.
func New(opts Options) *Client { return &Client{opts} }

// Response is a complete answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a request. The error is a *[token.UnavailableError].
func (c *Client) Do(ctx context.Context, req *http.Request) (*Response, error) {
	return nil, &token.UnavailableError{Reason: "not implemented", Err: errors.ErrUnsupported}
}

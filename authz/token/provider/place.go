package provider

import (
	"context"

	"scopeward/authz/token"
)

// A Place is where an endpoint of a provider is.
type Place interface {
	// URL tells the endpoint's URL. Its error is a *[token.UnavailableError].
	URL(context.Context) (string, error)
	// Outage is the error that URL would give now without asking anybody, else nil.
	Outage() *token.UnavailableError
	// String names the place for people.
	String() string
}

// At is a place that is configured.
type At string

// URL implements [Place].
func (a At) URL(context.Context) (string, error) { return string(a), nil }

// Outage implements [Place].
func (At) Outage() *token.UnavailableError { return nil }

func (a At) String() string { return string(a) }

// Outage is the error that a request at a place would get now without being sent; nil if
// it would be sent.
func Outage(p Place, c *Client) *token.UnavailableError {
	if err := p.Outage(); err != nil {
		return err
	}
	return c.Outage()
}

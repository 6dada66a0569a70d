// Package lookup validates a credential by asking an endpoint of which the configuration
// says how it is asked, and what its answer means.
package lookup

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"scopeward/authz/token"
	"scopeward/authz/token/clientauth"
	"scopeward/authz/token/provider"
	"scopeward/authz/token/vouch"
)

// Options configure what [New] makes.
type Options struct {
	Request Request
	Auth    *clientauth.Auth // our own credential; nil: that which is looked up is the only one
	Meaning Meaning
	// Rules check what the answer states. Without Audiences any audience is good.
	Rules  token.Rules
	Client *provider.Client // one with NoRedirects and MayBeAbsent
	Logger *slog.Logger     // default: discard
}

// Answer is what the endpoint said. Body is nil where it is no JSON object, which is so
// only for statuses other than 2xx.
type Answer struct {
	Status int
	Body   map[string]any // as [token.Claims.Map] has it
}

// Meaning is what an answer means. An error of either says that the answer is not
// understood, so that it tells nothing of the credential; it holds nothing of the answer.
type Meaning struct {
	Valid  func(Answer) (bool, error)
	Claims func(Answer) (map[string]any, error) // of a valid one; nil values are absent
}

// asker looks credentials up.
type asker struct{ Options }

// New makes a verifier that looks up each credential.
func New(opts Options) *vouch.Verifier {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return vouch.New(vouch.Options{
		Ask: asker{opts}.ask, Place: provider.At(opts.Request.URL), Client: opts.Client, Rules: opts.Rules, Logger: opts.Logger,
		Alone:   true,
		Refusal: "the lookup says that it is not valid",
		Fault:   "cannot look up a credential",
		Silence: "the lookup has called every credential invalid so far: are lookup.url and lookup.valid right?",
	})
}

func (a asker) ask(ctx context.Context, raw string) (stated token.Claims, good bool, err error) {
	req, err := a.Request.make(ctx, a.Auth, raw)
	if err != nil {
		return stated, false, err
	}
	resp, err := a.Client.Do(ctx, req)
	if err != nil {
		return stated, false, err
	}
	return a.read(resp)
}

// read says what an answer means. Some statuses have one meaning, whatever the
// configuration says: a careless status == 200 must not make an outage a refusal.
func (a asker) read(resp *provider.Response) (stated token.Claims, good bool, err error) {
	own, success := a.Auth != nil, resp.Status/100 == 2
	switch {
	case own && resp.Status == http.StatusUnauthorized:
		a.Auth.Refused()
		fallthrough
	case own && resp.Status == http.StatusForbidden:
		return stated, false, resp.Unavailable("the lookup refuses our own credential (%d): check the credentials in lookup", resp.Status)
	case resp.Status == http.StatusUnauthorized:
		return stated, false, token.Invalidf("the lookup refuses it (401)")
	case resp.Status == http.StatusTooManyRequests, resp.Status >= 500, resp.Status/100 == 3:
		return stated, false, resp.Unexpected("what is looked up", "lookup.url")
	}
	if a.Meaning.Valid == nil || a.Meaning.Claims == nil {
		return stated, false, resp.Unavailable("nobody has said what answers of the lookup mean")
	}
	body, broken := token.ReadClaims(resp.Body)
	if broken != nil && success {
		return stated, false, resp.Unavailable("the lookup's answer cannot be read: %v", broken)
	}
	if err := a.Rules.CheckPurpose(body.Only("token_use", "token_usage", "token_type")); err != nil {
		return stated, false, err
	}
	answer := Answer{resp.Status, body.Map()}
	if good, err = a.Meaning.Valid(answer); err != nil {
		return stated, false, resp.Unavailable("lookup.valid does not fit the answer (%d): %v", resp.Status, err)
	}
	if !good {
		return stated, false, nil
	}
	if stated, err = a.claims(answer); err != nil {
		return stated, false, resp.Unavailable("lookup.claims do not fit the answer (%d): %v", resp.Status, err)
	}
	return body.Only("cnf").Over(stated), true, nil // what it is bound to counts, whoever forgets it
}

func (a asker) claims(answer Answer) (token.Claims, error) {
	claims, err := a.Meaning.Claims(answer)
	if err != nil {
		return token.Claims{}, err
	}
	stated, err := token.NewClaims(claims)
	if err != nil {
		return token.Claims{}, errors.New("they give what JSON can't hold")
	}
	return stated, nil
}

// Package credential finds the credential of a request wherever clients may put it, and
// takes it out of what goes upstream. What others could read differently is refused.
package credential

import (
	"errors"
	"strings"

	"scopeward/authz/token"
	"scopeward/authz/wire"
)

// Kind is a kind of place.
type Kind uint8

// The kinds of places.
const (
	Bearer      Kind = iota // Authorization: Bearer TOKEN, or DPoP TOKEN
	Header                  // NAME: TOKEN
	Cookie                  // Cookie: NAME=TOKEN
	Query                   // ?NAME=TOKEN
	Subprotocol             // Sec-WebSocket-Protocol: NAME, TOKEN
)

// Place is where a credential may be. Its zero value is Authorization, by Bearer or DPoP.
type Place struct {
	Kind    Kind
	Name    string
	Origins []Origin // of a cookie: other sites whose requests count
}

// String names the place in messages.
func (p Place) String() string {
	switch p.Kind {
	case Header:
		return "the header " + p.Name
	case Cookie:
		return "the cookie " + p.Name
	case Query:
		return "the query parameter " + p.Name
	case Subprotocol:
		return "the WebSocket subprotocol " + p.Name
	default:
		return "the header Authorization"
	}
}

// Places are where the credential of a request may be. The zero value is the bearer token
// of Authorization, which goes upstream.
type Places struct {
	List     []Place // none is Authorization: Bearer
	Withhold bool    // headers with a credential don't go upstream; other places never do
}

// Found is the credential of a request.
type Found struct {
	Raw     string
	Scheme  token.Scheme
	cookies []Place // those that held it
}

// Find gives the one credential of a request; a longer one than so many bytes is refused.
// The error is a *[token.MissingError] or a *[token.MalformedError], and has no part of a
// credential.
func (p *Places) Find(r *wire.Request, longest int) (Found, error) {
	if p.onlyBearer() {
		raw, scheme, err := token.FromAuthorization(r.Header("authorization"), longest)
		return Found{Raw: raw, Scheme: scheme}, err
	}
	var found Found
	var first Place
	for _, at := range p.List {
		raw, scheme, err := at.find(r, longest)
		if scheme == token.DPoP { // also of a request that is refused: its answer says how to do better
			found.Scheme = scheme
		}
		if _, missing := errors.AsType[*token.MissingError](err); missing && len(p.List) > 1 {
			continue
		}
		switch {
		case err != nil:
			return Found{Scheme: found.Scheme}, err
		case found.Raw == "":
			found.Raw, first = raw, at
		case found.Raw != raw:
			return Found{Scheme: found.Scheme}, &token.MalformedError{Reason: "there are two different credentials, in " + first.String() + " and in " + at.String()}
		}
		if at.Kind == Cookie {
			found.cookies = append(found.cookies, at)
		}
	}
	if found.Raw == "" {
		return Found{Scheme: found.Scheme}, &token.MissingError{Reason: "there is no credential in " + p.String()}
	}
	return found, nil
}

func (p *Places) onlyBearer() bool {
	return len(p.List) == 0 || len(p.List) == 1 && p.List[0].Kind == Bearer
}

// String lists the places.
func (p *Places) String() string {
	if len(p.List) == 0 {
		return Place{}.String()
	}
	names := make([]string, len(p.List))
	for i, at := range p.List {
		names[i] = at.String()
	}
	return strings.Join(names, ", ")
}

// find gives the credential at a place.
func (p Place) find(r *wire.Request, longest int) (raw string, scheme token.Scheme, err error) {
	switch p.Kind {
	case Header:
		raw = strings.Trim(r.Header(p.Name), " \t")
	case Cookie:
		raw, err = findCookie(r.Header("cookie"), p.Name)
	case Query:
		raw, err = findParameter(queryOf(r.Path), p.Name)
	case Subprotocol:
		raw, err = findSubprotocol(r.Header("sec-websocket-protocol"), p.Name)
	default:
		return token.FromAuthorization(r.Header("authorization"), longest)
	}
	switch {
	case err != nil:
		return "", scheme, &token.MalformedError{Reason: p.String() + " " + err.Error()}
	case raw == "":
		return "", scheme, &token.MissingError{Reason: p.String() + " is missing, or has no token"}
	}
	if fault := token.CheckRaw(raw, longest); fault != "" {
		return "", scheme, &token.MalformedError{Reason: p.String() + ": " + fault}
	}
	return raw, scheme, nil
}

// Hide takes out of what goes upstream what must not go on, whether or not it was looked
// at: all credentials but those of headers, those of headers too if they are withheld,
// and what some servers would read as one of them.
func (p *Places) Hide(r *wire.Request, to *wire.Response) {
	if p.onlyBearer() && !p.Withhold {
		return
	}
	hideHeaders(p, r, to)
	hideCookies(p, r, to)
	hideParameters(p, r, to)
	hideSubprotocols(p, r, to)
}

// Target is the path and query of a request as it goes upstream.
func (p *Places) Target(r *wire.Request) string {
	path, query, found := strings.Cut(r.Path, "?")
	if !found || !p.Has(Query) {
		return r.Path
	}
	if kept, changed := p.withoutParameters(query); changed {
		if kept == "" {
			return path
		}
		return path + "?" + kept
	}
	return r.Path
}

// Query is the query of a request, of which raw is the whole, as it goes upstream.
func (p *Places) Query(r *wire.Request, raw string) string {
	if !p.Has(Query) {
		return raw
	}
	return queryOf(p.Target(r))
}

// Hidden are the request's headers as conditions see them: without credentials.
func (p *Places) Hidden(r *wire.Request) map[string]string {
	m := make(map[string]string, len(r.Headers))
	for _, h := range r.Headers {
		m[h.Name] = h.Value
	}
	var edits wire.Response
	withheld := Places{List: p.List, Withhold: true}
	withheld.Hide(r, &edits)
	for _, h := range edits.Set {
		if _, there := m[h.Name]; there { // Envoy need not send :path as a header
			m[h.Name] = h.Value
		}
	}
	for _, name := range edits.Remove {
		delete(m, name)
	}
	delete(m, "authorization")
	return m
}

package tokentest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Fault is a way to fail.
type Fault string

// The faults. The empty one is none.
const (
	Down      Fault = "down"      // the connection is closed without an answer
	Error     Fault = "error"     // 500
	TooMany   Fault = "too many"  // 429 with Retry-After: 7
	HTML      Fault = "html"      // 200 with a web page
	Empty     Fault = "empty"     // 200 without body
	Truncated Fault = "truncated" // the connection ends within the body
	Huge      Fault = "huge"      // 200 with 10 MiB of JSON
	Deep      Fault = "deep"      // 200 with deeply nested JSON
	Redirect  Fault = "redirect"  // 307 to another host
	Slow      Fault = "slow"      // no answer until Release, then a good one
	Drip      Fault = "drip"      // headers, then nothing until Release
)

// Fail sets the fault of a path; the path "" means every path without one of
// its own. The fault "" ends it.
func (p *Provider) Fail(path string, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[path] = f
}

// Release lets go of the requests that Slow and Drip hold now.
func (p *Provider) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.release)
	p.release = make(chan struct{})
}

func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests[r.URL.Path]++
	fault := p.faults[r.URL.Path]
	if fault == "" {
		fault = p.faults[""]
	}
	handler := p.handlers[r.URL.Path]
	release := p.release
	p.mu.Unlock()

	if p.failed(fault, w, r, release) {
		return
	}
	switch {
	case handler != nil:
		handler.ServeHTTP(w, r)
	case r.URL.Path == KeysPath:
		p.serveKeys(w, r)
	case r.URL.Path == ProfilePath:
		p.serveProfile(w, r)
	case r.URL.Path == IntrospectionPath:
		p.serveIntrospection(w, r)
	case r.URL.Path == LookupPath:
		p.serveLookup(w, r)
	case p.serveAs(w, r):
	default:
		http.NotFound(w, r)
	}
}

// failed answers in the way of a fault, and tells whether it did.
func (p *Provider) failed(fault Fault, w http.ResponseWriter, r *http.Request, release <-chan struct{}) bool {
	wait := func() {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	switch fault {
	case "":
		return false
	case Slow:
		wait()
		return false
	case Down:
		panic(http.ErrAbortHandler)
	case Error:
		http.Error(w, `{"error":"server_error"}`, http.StatusInternalServerError)
	case TooMany:
		w.Header().Set("Retry-After", "7")
		http.Error(w, "slow down", http.StatusTooManyRequests)
	case HTML:
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>Sign in</title>")
	case Empty:
	case Truncated:
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, `{"sub":"alice","active":true,"keys":[`)
	case Huge:
		fmt.Fprintf(w, `{"sub":"alice","active":true,"keys":[],"x":"%s"}`, strings.Repeat("x", 10<<20))
	case Deep:
		fmt.Fprint(w, `{"sub":"alice","active":true,"keys":[],"x":`, strings.Repeat("[", 100_000), strings.Repeat("]", 100_000), "}")
	case Redirect:
		http.Redirect(w, r, p.elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
	case Drip:
		fmt.Fprint(w, "{")
		_ = http.NewResponseController(w).Flush()
		wait()
	default:
		panic("tokentest: unknown fault " + string(fault))
	}
	return true
}

func (p *Provider) serveKeys(w http.ResponseWriter, r *http.Request) {
	// As Kinde does.
	if r.Header.Get("Authorization") != "" {
		http.Error(w, "no Authorization header, please", http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	document := p.document
	p.mu.Unlock()
	if document == "" {
		document = p.JWKS()
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, document)
}

func (p *Provider) serveProfile(w http.ResponseWriter, r *http.Request) {
	claims, ok := p.lookUp(bearer(r))
	if !ok {
		writeJSON(w, http.StatusForbidden, map[string]any{
			"error": "invalid_token", "error_description": "The access token is invalid or expired"})
		return
	}
	sub, _ := claims["sub"].(string)
	profile := map[string]any{
		"sub": sub, "provided_id": "some_external_id", "name": "John Snow", "given_name": "John",
		"family_name": "Snow", "updated_at": 1612345678, "email": "john.snow@example.com", "email_verified": true,
		"picture": "https://example.com/john_snow.jpg", "preferred_username": "john_snow", "id": sub,
	}
	if _, jwt := claims["iss"]; !jwt {
		maps.Copy(profile, claims)
	}
	writeJSON(w, http.StatusOK, profile)
}

// serveLookup answers as a service of one's own could.
func (p *Provider) serveLookup(w http.ResponseWriter, r *http.Request) {
	if !isClient(r) {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"message": "who are you?"})
		return
	}
	var asked struct{ Credential string }
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]any{"message": err.Error()})
		return
	}
	claims, ok := p.lookUp(asked.Credential)
	writeJSON(w, http.StatusOK, map[string]any{"good": ok, "claims": claims})
}

// isClient reports whether somebody is the client that may ask about tokens.
func isClient(r *http.Request) bool {
	id, secret, _ := r.BasicAuth()
	return r.Method == http.MethodPost && id == url.QueryEscape(ClientID) && secret == url.QueryEscape(ClientSecret)
}

// serveIntrospection gives numbers as strings, as Kinde does.
func (p *Provider) serveIntrospection(w http.ResponseWriter, r *http.Request) {
	if !isClient(r) {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	claims, ok := p.lookUp(r.PostFormValue("token"))
	if !ok {
		writeJSON(w, http.StatusOK, map[string]any{"active": false})
		return
	}
	answer := changed(maps.Clone(claims), map[string]any{"active": true, "client_id": "client-1"})
	for _, name := range []string{"exp", "iat", "nbf"} {
		if v, ok := answer[name]; ok {
			answer[name] = fmt.Sprint(v)
		}
	}
	writeJSON(w, http.StatusOK, answer)
}

// lookUp finds the claims of a token that is known and has not expired.
func (p *Provider) lookUp(raw string) (map[string]any, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	claims, ok := p.tokens[raw]
	var exp int64
	switch v := claims["exp"].(type) {
	case nil:
		return claims, ok
	case int64:
		exp = v
	case int:
		exp = int64(v)
	case float64:
		exp = int64(v)
	case string:
		exp, _ = strconv.ParseInt(v, 10, 64)
	}
	return claims, ok && exp > time.Now().Unix()
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(err)
	}
}

package authz

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"scopeward/authz/wire"
	"scopeward/policy"
)

// Resource is what is published of the API that Scopeward protects, so that clients
// find out by themselves where to get a token (RFC 9728 section 2).
type Resource struct {
	// Identifier is the URL by which clients call the API, with a path where only
	// that is the API. It has no query and no fragment.
	Identifier           string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	Scopes               []string `json:"scopes_supported,omitempty"`
	BearerMethods        []string `json:"bearer_methods_supported,omitempty"`
	Name                 string   `json:"resource_name,omitempty"`
	Documentation        string   `json:"resource_documentation,omitempty"`

	// Which bound tokens count, and whether mere bearer tokens don't.
	ProofAlgorithms []string `json:"dpop_signing_alg_values_supported,omitempty"`
	MustBeBound     bool     `json:"dpop_bound_access_tokens_required,omitempty"`
	ByCertificate   bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"`
}

const wellKnown = "/.well-known/oauth-protected-resource"

// MetadataURL is where clients look for the metadata of a resource: the well-known
// path stands between the host and the path of its identifier (RFC 9728 section 3.1).
func MetadataURL(identifier string) (string, error) {
	u, err := url.Parse(identifier)
	switch {
	case err != nil || u.Host == "":
		return "", fmt.Errorf("%q is no URL", identifier)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("the identifier of a resource has neither a query nor a fragment")
	}
	path := u.EscapedPath()
	if path == "/" {
		path = ""
	}
	return u.Scheme + "://" + u.Host + wellKnown + path, nil
}

// Document is JSON that is answered to everybody who asks for it. Its zero value is asked
// for nowhere.
type Document struct {
	host, body string
	path       policy.Path
}

// NewDocument makes the document of an address, which has neither query nor fragment.
func NewDocument(address, body string) (Document, error) {
	u, err := url.Parse(address)
	if err != nil {
		return Document{}, err
	}
	asked, err := policy.NewRequest(http.MethodGet, u.Host, u.EscapedPath())
	if err != nil {
		return Document{}, fmt.Errorf("nobody could ask for %s: %w", address, err)
	}
	return Document{host: asked.Host, path: asked.Path, body: body}, nil
}

// Metadata is the document of a resource.
type Metadata struct {
	Document
	address string // its URL
	base    string // the path of the resource itself, without a slash at its end
}

// NewMetadata makes the document of a resource.
func NewMetadata(r Resource) (Metadata, error) {
	address, err := MetadataURL(r.Identifier)
	if err != nil {
		return Metadata{}, err
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return Metadata{}, err
	}
	document, err := NewDocument(address, body.String())
	base := strings.TrimSuffix(strings.TrimPrefix(document.path.String(), wellKnown), "/")
	return Metadata{Document: document, address: address, base: base}, err
}

// Body is the document.
func (m *Metadata) Body() string { return m.body }

// SamePlace reports whether two documents are asked for by the same host and path.
func (m *Metadata) SamePlace(other *Metadata) bool {
	return m.host == other.host && m.path == other.path
}

// about reports whether a request is for the resource itself.
func (m *Metadata) about(r *request) bool {
	rest, ok := strings.CutPrefix(r.Path.String(), m.base)
	return ok && r.Host == m.host && (rest == "" || rest[0] == '/')
}

// published returns the document that the request asks for; nil if it is for the policy.
func (s *Snapshot) published(r *request) *Document {
	if s.IdentityToken.Keys.asked(r) {
		return &s.IdentityToken.Keys
	}
	for i := range s.Resources {
		if s.Resources[i].asked(r) {
			return &s.Resources[i].Document
		}
	}
	return nil
}

// resourceMetadata returns where the document of the resource is that a request is for:
// the one with the longest path, if there are several; "" if there is none. The only one
// there is counts for all requests, as their host may not be the one that clients use.
func (s *Snapshot) resourceMetadata(r *request) string {
	switch {
	case s.ResourceMetadata != "":
		return s.ResourceMetadata
	case len(s.Resources) == 1:
		return s.Resources[0].address
	}
	var found *Metadata
	for i := range s.Resources {
		if m := &s.Resources[i]; m.about(r) && (found == nil || len(m.base) > len(found.base)) {
			found = m
		}
	}
	if found == nil {
		return ""
	}
	return found.address
}

// asked reports whether a request is for the document, or what a browser asks before it
// (a CORS preflight). Other methods are for the policy.
func (d *Document) asked(r *request) bool {
	if d.path == (policy.Path{}) || r.Path != d.path || r.Host != d.host {
		return false
	}
	return r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
}

// respond answers in place of the upstream. The document is public, and the same for
// everybody: scripts of all sites may read it (https://fetch.spec.whatwg.org/#http-cors-protocol).
func (d *Document) respond(r *wire.Response, method string) {
	row := codeMetadata.answer()
	r.GRPC, r.Status = row.grpc, row.status
	r.Set = append(r.Set, wire.Header{Name: "access-control-allow-origin", Value: "*"})
	if method == http.MethodOptions {
		r.Status = http.StatusNoContent
		r.Set = append(r.Set,
			wire.Header{Name: "access-control-allow-methods", Value: http.MethodGet},
			wire.Header{Name: "access-control-allow-headers", Value: "*"},
			wire.Header{Name: "access-control-max-age", Value: "3600"})
		return
	}
	r.Body = d.body
	r.Set = append(r.Set,
		wire.Header{Name: "content-type", Value: "application/json"},
		wire.Header{Name: "cache-control", Value: "public, max-age=300"})
}

// Package answer makes the answers to denials that an operator writes: templates that are
// compiled once and filled for each request. What a client sends is escaped for the place
// where it comes to stand, so that it becomes neither markup nor a header nor an address.
package answer

import (
	"net/http"
	"slices"
	"strings"

	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"scopeward/authz/wire"
)

// JSON is the content type of the answers that nobody has written.
const JSON = "application/json"

// Entry is an answer, and the denials that it is for.
type Entry struct {
	Codes       []string // none: all
	Accept      string   // a media type: only for requests that prefer it; "" for all
	Redirect    Template // an address, for GET and HEAD
	ContentType string   // of Body
	Body        Template
	Headers     []Header
}

// Header is a header of an answer.
type Header struct {
	Name  string // in lower case
	Value Template
}

// List are the answers of a configuration. The first that fits counts; where none does,
// the answer is as without a list.
type List []Entry

// Find returns the entry that answers a request that is denied with a code; nil if there is
// none. varies reports whether it would be another one for another Accept.
func (l List) Find(code string, r *wire.Request) (found *Entry, varies bool) {
	if len(l) == 0 || isGRPC(r) {
		return nil, false
	}
	var offered []*Entry
	for i := range l {
		e := &l[i]
		if !e.about(code) || e.Redirect != nil && r.Method != http.MethodGet && r.Method != http.MethodHead {
			continue
		}
		if e.Accept == "" {
			found = e
			break
		}
		offered = append(offered, e)
	}
	if len(offered) == 0 {
		return found, false
	}
	if preferred := prefer(offered, found.mediaType(), r.Header("accept")); preferred != nil {
		found = preferred
	}
	return found, true
}

// isGRPC reports whether a request is of gRPC or gRPC-Web, whose clients read no bodies:
// Envoy makes a status of gRPC of the answer's.
func isGRPC(r *wire.Request) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(r.Header("content-type"))), "application/grpc")
}

func (e *Entry) about(code string) bool {
	return len(e.Codes) == 0 || slices.Contains(e.Codes, code)
}

// mediaType is what a client gets by the entry, which is nil for the answer that nobody has
// written. Redirects are for those who read pages.
func (e *Entry) mediaType() string {
	switch {
	case e != nil && e.Redirect != nil:
		return "text/html"
	case e != nil && e.Body != nil:
		return mediaType(e.ContentType)
	default:
		return JSON
	}
}

// Write puts the answer in place of the status, content type and body of a denial.
func (e *Entry) Write(r *wire.Response, v *Values) {
	switch {
	case e.Redirect != nil:
		r.Status, r.Body = typev3.StatusCode_Found, ""
		r.Set = slices.DeleteFunc(r.Set, isContentType)
		r.Set = append(r.Set, wire.Header{Name: "location", Value: e.Redirect(v)})
	case e.Body != nil:
		r.Body = e.Body(v)
		r.Set = slices.DeleteFunc(r.Set, isContentType)
		r.Set = append(r.Set,
			wire.Header{Name: "content-type", Value: e.ContentType},
			wire.Header{Name: "x-content-type-options", Value: "nosniff"})
	}
	for _, h := range e.Headers {
		r.Set = append(r.Set, wire.Header{Name: h.Name, Value: h.Value(v)})
	}
}

func isContentType(h wire.Header) bool { return h.Name == "content-type" }

// Shadowed returns, for one of the codes of the entry with an index ("" stands for all that
// are left), the index of an earlier entry that always answers in its place.
func (l List) Shadowed(index int, code string) (by int, shadowed bool) {
	for i, earlier := range l[:index] {
		later := l[index]
		covers := earlier.Accept == "" || earlier.Accept == later.Accept
		if covers && earlier.about(code) && (earlier.Redirect == nil || later.Redirect != nil) {
			return i, true
		}
	}
	return 0, false
}

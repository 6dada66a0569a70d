package lookup

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"scopeward/authz/token"
	"scopeward/authz/token/clientauth"
	"scopeward/authz/token/provider"
)

// Placeholder stands for the credential in the texts of a [Request].
const Placeholder = "{token}"

// Request says how the endpoint is asked. Where no text has the placeholder, the
// credential is sent as a bearer token.
type Request struct {
	URL    string
	Method string            // GET or POST
	Query  map[string]string // more of the URL's query
	Form   map[string]string // of a POST; or
	JSON   map[string]any
}

// Names reports whether a text of the request has the placeholder.
func (r Request) Names() bool {
	found := func(texts map[string]string) bool {
		for _, text := range texts {
			if strings.Contains(text, Placeholder) {
				return true
			}
		}
		return false
	}
	return found(r.Query) || found(r.Form) || contains(r.JSON)
}

func contains(value any) bool {
	found := false
	replace(value, func(text string) string {
		found = found || strings.Contains(text, Placeholder)
		return text
	})
	return found
}

// replace copies a value of JSON with other texts.
func replace(value any, text func(string) string) any {
	switch value := value.(type) {
	case string:
		return text(value)
	case []any:
		list := make([]any, len(value))
		for i, element := range value {
			list[i] = replace(element, text)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(value))
		for name, member := range value {
			object[name] = replace(member, text)
		}
		return object
	default:
		return value
	}
}

// values are the texts with the credential in place.
func values(texts map[string]string, put func(string) string) url.Values {
	all := url.Values{}
	for name, text := range texts {
		all.Set(name, put(text))
	}
	return all
}

// make makes the request for a credential, which is encoded for its place.
func (r Request) make(ctx context.Context, auth *clientauth.Auth, raw string) (*http.Request, error) {
	put := func(text string) string { return strings.ReplaceAll(text, Placeholder, raw) }
	form, header := values(r.Form, put), http.Header{}
	if auth != nil {
		if err := auth.Add(ctx, header, form); err != nil {
			return nil, err
		}
	}
	req, err := r.with(form, put)
	if err != nil {
		return nil, &token.UnavailableError{Reason: "the URL of the lookup is not valid"}
	}
	if query := values(r.Query, put).Encode(); query != "" {
		req.URL.RawQuery = strings.TrimPrefix(req.URL.RawQuery+"&"+query, "&")
	}
	if !r.Names() {
		req.Header.Set("Authorization", "Bearer "+raw)
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// with makes the request with its body.
func (r Request) with(form url.Values, put func(string) string) (*http.Request, error) {
	switch {
	case r.Method != http.MethodPost:
		return http.NewRequest(http.MethodGet, r.URL, nil)
	case r.JSON == nil:
		return provider.NewPost(r.URL, "application/x-www-form-urlencoded", []byte(form.Encode()))
	default:
		body, err := json.Marshal(replace(r.JSON, put))
		if err != nil {
			return nil, err
		}
		return provider.NewPost(r.URL, "application/json", body)
	}
}

// Package page is the page of the admin listener: the state at a glance, the rules and how
// often they are met, a live stream of decisions, and a form that explains one. It changes
// nothing, and shows no more than the audit holds: never a token or a query.
package page

import (
	"embed"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"scopeward/authz/audit"
)

//go:embed page.html page.css page.js icon.svg
var assets embed.FS

// Options are what the page shows.
type Options struct {
	State   func() State // called at most once a second, however many pages are open
	Rules   func() []Rule
	Explain Explainer
	Recent  *audit.Recent
}

// contentSecurityPolicy of the page: nothing but its own files, no script or style within the document
// (Content Security Policy Level 3), and no text that becomes markup (Trusted Types).
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// New serves the page at /.
func New(o Options) http.Handler {
	mux := http.NewServeMux()
	for path, name := range map[string]string{"/{$}": "page.html", "/page.css": "page.css", "/page.js": "page.js", "/icon.svg": "icon.svg"} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, assets, name) })
	}
	stream := newStream(o.Recent)
	state := fresh{make: func() any {
		state := o.State()
		state.Pages = Pages{Open: len(stream.open), Max: cap(stream.open)}
		return state
	}}
	rules := fresh{make: func() any { return o.Rules() }}
	mux.Handle("GET /state", &state)
	mux.Handle("GET /rules", &rules)
	mux.Handle("GET /stream", stream)
	mux.Handle("POST /explain", newExplain(o.Explain))
	return secured(mux)
}

func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY") // where frame-ancestors is not known
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// fresh is JSON that is at most a second old.
type fresh struct {
	make func() any

	mu   sync.Mutex
	at   time.Time
	json []byte
}

// ServeHTTP implements [http.Handler].
func (f *fresh) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	body, err := f.get()
	if err != nil {
		http.Error(w, "This can't be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

func (f *fresh) get() (body []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.json == nil || time.Since(f.at) >= time.Second {
		if f.json, err = json.Marshal(f.make()); err != nil {
			return nil, err
		}
		f.at = time.Now()
	}
	return f.json, nil
}

package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"scopeward/internal/admin/page"
	"scopeward/internal/config"
)

// newAdmin is the HTTP server of the admin listener.
func (s *service) newAdmin() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/", page.New(page.Options{State: s.pageState, Rules: s.pageRules, Explain: s.explain, Recent: s.server.Recent()}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /config", s.showConfig)
	mux.HandleFunc("GET "+config.IdentityKeysPath, s.identityKeys)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	return &http.Server{
		Handler:           guarded{s, mux},
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

func (s *service) readyz(w http.ResponseWriter, _ *http.Request) {
	r := s.readiness()
	status := http.StatusOK
	if !r.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, r)
}

// identityKeys answers the public keys of identity_token.
func (s *service) identityKeys(w http.ResponseWriter, r *http.Request) {
	signer := s.server.Snapshot().IdentityToken.Signer
	if signer == nil {
		http.Error(w, "There are no keys: the configuration has no identity_token.", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	fmt.Fprint(w, signer.JWKS())
}

// showConfig shows the configuration in force. Secrets hide themselves.
func (s *service) showConfig(w http.ResponseWriter, _ *http.Request) {
	shown, err := s.state.Load().Config.Shown()
	if err != nil {
		http.Error(w, "the configuration can't be shown", http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, shown)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // an error: the client has gone away
}

package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"scopeward/internal/admin/page"
)

// newAdmin is the HTTP server of the admin listener.
func (s *service) newAdmin() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/", page.New(page.Options{State: s.pageState, Rules: s.pageRules, Explain: s.explain, Recent: s.server.Recent()}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /config", s.showConfig)
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

// readiness is the body of /readyz.
type readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // why it is not ready, or what is wrong although it is
}

// readiness says whether the service can decide. A provider that was tried and
// is down does not make it unready: cached tokens and other providers' go on.
func (s *service) readiness() readiness {
	r := readiness{Ready: true, Reasons: []string{}}
	if s.draining.Load() {
		r.Ready = false
		r.Reasons = append(r.Reasons, "draining: the process was told to end")
	}
	for _, p := range s.state.Load().providers {
		for _, e := range p.endpoints {
			if up, reason := e.State(); !up {
				r.Reasons = append(r.Reasons, "provider "+p.Name+": "+e.name+" is asked seldom until it is well again: "+reason)
			}
		}
		if p.keys == nil {
			continue
		}
		tried, reason := p.keys.Ready()
		if !tried {
			r.Ready = false
		}
		if reason != "" {
			r.Reasons = append(r.Reasons, "provider "+p.Name+": "+reason)
		}
	}
	for _, c := range s.state.Load().sharing.connections() {
		if !c.tried() {
			r.Ready = false
		}
		if _, reason := c.State(); reason != "" {
			r.Reasons = append(r.Reasons, "Redis "+c.URL().String()+": "+reason+"; each replica goes on by itself")
		}
	}
	if _, err := s.reloads.last(); err != nil {
		r.Reasons = append(r.Reasons, "the files on disk are broken, what was last good serves on: "+err.Error())
	}
	for _, reason := range s.watcher.Trouble() {
		r.Reasons = append(r.Reasons, "changed files are noticed some seconds late: "+reason)
	}
	if s.tls != nil {
		r.Reasons = append(r.Reasons, s.tls.why(time.Now())...)
	}
	for _, setting := range s.reloads.needRestart() {
		r.Reasons = append(r.Reasons, setting+" has changed on disk: restart to bring it into force")
	}
	return r
}

func (s *service) readyz(w http.ResponseWriter, _ *http.Request) {
	r := s.readiness()
	status := http.StatusOK
	if !r.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, r)
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
	_ = printJSON(w, v) // the client has gone away
}

package idp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// slowness is how long an answer takes while the provider is slow.
const slowness = 10 * time.Second

// Config says where a provider lives. Dir and Listen are required.
type Config struct {
	Dir    string // of its state
	Listen string // host:port; with port 0 the system chooses
	URL    string // under which it is reached, the base of its issuers, without a slash at the end; http:// and Listen if empty
	Secret string // of MachineClient; made at random if empty
}

// Server serves a Provider on a port and can break in the ways that providers break.
type Server struct {
	*Provider
	addr string
	url  string

	mu    sync.Mutex
	fault string       // one of Faults, "" if healthy
	http  *http.Server // nil while down
}

// Faults lists what [Server.Fault] knows.
func Faults() []string { return []string{"down", "slow", "500", "429", "html"} }

// Serve starts a provider.
func Serve(c Config) (*Server, error) {
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("identity provider: %w", err)
	}
	s := &Server{addr: l.Addr().String(), url: c.URL}
	if s.url == "" {
		s.url = "http://" + s.addr
	}
	if s.Provider, err = New(c.Dir, s.url, c.Secret); err != nil {
		l.Close()
		return nil, err
	}
	s.start(l)
	return s, nil
}

// URL is the provider's base, without a slash at the end.
func (s *Server) URL() string { return s.url }

// Close ends the server.
func (s *Server) Close() error { return s.Fault("down") }

func (s *Server) start(l net.Listener) {
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 5 * time.Second}
	go s.http.Serve(l) // ends with Close
}

// Fault breaks the provider in one of the ways of [Faults], or mends it ("up"). While it is down its port is closed.
func (s *Server) Fault(fault string) error {
	if fault == "up" {
		fault = ""
	} else if !slices.Contains(Faults(), fault) {
		return fmt.Errorf("unknown fault %q; there are: up, %s", fault, strings.Join(Faults(), ", "))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case fault == "down" && s.http != nil:
		err := s.http.Close()
		s.http = nil
		if err != nil {
			return err
		}
	case fault != "down" && s.http == nil:
		l, err := net.Listen("tcp", s.addr)
		if err != nil {
			return fmt.Errorf("the provider can't have its port back: %w", err)
		}
		s.start(l)
	}
	s.fault = fault
	return nil
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	switch fault {
	case "500":
		http.Error(w, "something went wrong", http.StatusInternalServerError)
	case "429":
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many requests", http.StatusTooManyRequests)
	case "html":
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!doctype html><title>Maintenance</title><h1>We will be back soon</h1>\n")
	case "slow":
		timer := time.NewTimer(slowness)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
		s.Provider.ServeHTTP(w, r)
	default:
		s.Provider.ServeHTTP(w, r)
	}
}

// Control is the handler of the control port: POST /ACTION with an action of [Actions], POST /expired for an expired token.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /expired", func(w http.ResponseWriter, r *http.Request) {
		token, err := s.ExpiredToken(r.Context(), Keys, []string{"read:users"})
		answer(w, token, err)
	})
	mux.HandleFunc("POST /{action}", func(w http.ResponseWriter, r *http.Request) {
		err := s.act(r.Context(), r.PathValue("action"))
		answer(w, "ok", err)
	})
	return mux
}

// Actions lists what the control port does.
func Actions() []string { return append([]string{"up", "rotate", "drop"}, Faults()...) }

func (s *Server) act(_ context.Context, action string) error {
	switch action {
	case "rotate":
		return s.Rotate()
	case "drop":
		return s.Drop()
	default:
		return s.Fault(action)
	}
}

func answer(w http.ResponseWriter, text string, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	io.WriteString(w, text)
}

// Ask sends an action to a control port and returns its answer.
func Ask(ctx context.Context, control, action string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, control+"/"+action, nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true} // no proxy: the control port is on loopback
	res, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(body)))
	}
	return string(body), err
}

package login

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

const issuer = "https://id.example.com/tenant"

// server is an authorization server by RFC 8628 and RFC 8414, on net/http alone. Its
// answers to polls are a list, the last of which stays.
type server struct {
	t        *testing.T
	metadata map[string]any // of the place that it is at
	place    string
	device   any // an answer, or a status
	polls    []any
	date     time.Duration // how far its clock is ahead

	mu    sync.Mutex
	asked []string // what was asked for, with the time since the start
	start time.Time
}

const accessToken = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"

type object = map[string]any

func newServer(t *testing.T, polls ...any) *server {
	return &server{
		t: t, place: "/tenant/.well-known/openid-configuration", start: time.Now(), polls: polls,
		metadata: object{"issuer": issuer, "device_authorization_endpoint": "https://id.example.com/device", "token_endpoint": "https://id.example.com/token"},
		device: object{"device_code": "secret-device-code", "user_code": "WDJB-MJHT", "verification_uri": "https://id.example.com/go",
			"verification_uri_complete": "https://id.example.com/go?c=WDJB-MJHT", "expires_in": 600, "interval": 5},
	}
}

func good() object { return object{"access_token": accessToken, "token_type": "bearer"} }

func oauthError(code string) object { return object{"error": code} }

// RoundTrip serves without a network, so that a test can have time of its own. A poll may
// be lost: an answer that is an error.
func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var answer any
	switch req.URL.Path {
	case s.place:
		answer = s.metadata
	case "/device", "/token":
		if err := req.ParseForm(); err != nil {
			s.t.Error(err)
		}
		s.asked = append(s.asked, fmt.Sprintf("%.0fs %s %s", time.Since(s.start).Seconds(), req.URL.Path, req.PostForm.Encode()))
		answer = s.device
		if req.URL.Path == "/token" {
			answer = s.polls[0]
			s.polls = s.polls[min(1, len(s.polls)-1):]
		}
	default:
		answer = http.StatusNotFound
	}
	if lost, ok := answer.(error); ok {
		return nil, lost
	}
	w := httptest.NewRecorder()
	w.Header().Set("Date", time.Now().Add(s.date).UTC().Format(http.TimeFormat))
	s.write(w, answer)
	res := w.Result()
	res.Request = req
	return res, nil
}

func (s *server) write(w http.ResponseWriter, answer any) {
	switch a := answer.(type) {
	case int:
		w.WriteHeader(a)
	case string:
		w.Header().Set("Location", a)
		w.WriteHeader(http.StatusFound)
	case object:
		w.Header().Set("Content-Type", "application/json")
		if _, bad := a["error"]; bad {
			w.WriteHeader(http.StatusBadRequest)
		}
		if err := json.NewEncoder(w).Encode(a); err != nil {
			s.t.Error(err)
		}
	}
}

// serve serves with a network.
func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	res, err := s.RoundTrip(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	io.Copy(w, res.Body)
}

// times are the seconds at which the token endpoint was asked.
func (s *server) times() (seconds []int) {
	for _, line := range s.asked {
		var at int
		var path string
		fmt.Sscanf(line, "%ds %s", &at, &path)
		if path == "/token" {
			seconds = append(seconds, at)
		}
	}
	return slices.Clip(seconds)
}

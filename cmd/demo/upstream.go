package main

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"time"
)

// upstream is the protected service: it answers with the request that reached it.
type upstream struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
}

// serveUpstream listens on a free port of loopback until the server is closed.
func serveUpstream() (address string, server *http.Server, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server = &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(l) // ends with Close
	return l.Addr().String(), server, nil
}

func echo(w http.ResponseWriter, r *http.Request) {
	seen := upstream{Method: r.Method, Path: r.RequestURI, Headers: map[string]string{}}
	for name, values := range r.Header {
		seen.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(seen) // the client has gone
}

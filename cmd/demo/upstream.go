package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// upstreamCommand is the upstream as a process of its own.
func upstreamCommand(ctx context.Context, args []string) error {
	flags := newFlags("demo upstream")
	listen := flags.String("listen", "127.0.0.1:8081", "the `address` to listen on")
	if err := parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return usageError{errors.New("demo upstream takes no arguments")}
	}
	address, server, err := serveUpstream(*listen)
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Printf("upstream: http://%s\n", address)
	<-ctx.Done()
	return nil
}

// serveUpstream listens on host:port until the server is closed; with port 0 the system chooses.
func serveUpstream(listen string) (address string, server *http.Server, err error) {
	l, err := net.Listen("tcp", listen)
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

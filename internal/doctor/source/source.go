// Package source reads the configuration of an Envoy: from its admin interface, a file or
// standard input.
package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"scopeward/internal/doctor"
	"scopeward/internal/strictyaml"
)

// Source is where the configuration of an Envoy was read.
type Source struct {
	Name    string // as it was given
	isAdmin bool
}

// TargetError is a target that can't be one.
type TargetError struct{ Err error }

func (e *TargetError) Error() string { return e.Err.Error() }
func (e *TargetError) Unwrap() error { return e.Err }

// NotEnvoy says that something else was there.
func (s Source) NotEnvoy(err error) error {
	if s.isAdmin {
		return fmt.Errorf("%s answers, but that is not Envoy's admin interface: %w; %s", s.Name, err, adminHint)
	}
	return fmt.Errorf("%s: %w", s.Name, err)
}

const adminHint = "Envoy's bootstrap says its address (admin.address, often 127.0.0.1:9901; port 15000 with Istio, 19000 with Envoy Gateway)"

// Read reads what target names: an admin interface, a file, or - for stdin.
func Read(ctx context.Context, target string, stdin io.Reader) (Source, []byte, error) {
	source := Source{Name: target}
	if target == "-" {
		source.Name = "standard input"
		data, err := io.ReadAll(io.LimitReader(stdin, doctor.MaxBytes+1))
		return source, data, err
	}
	if strings.Contains(target, "://") || isHostPort(target) {
		source.isAdmin = true
		admin, socket, err := adminURL(target)
		if err != nil {
			return source, nil, &TargetError{fmt.Errorf("%s: %w", target, err)}
		}
		data, err := fetchDump(ctx, source, admin, socket)
		return source, data, err
	}
	data, err := readConfigFile(target)
	return source, data, err
}

// isHostPort reports whether a target is host:port, and no file.
func isHostPort(target string) bool {
	host, port, err := net.SplitHostPort(target)
	if err != nil || host == "" {
		return false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false
	}
	_, err = os.Stat(target)
	return err != nil
}

func readConfigFile(name string) ([]byte, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory; give the bootstrap file, or the address of Envoy's admin interface", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, strictyaml.Unreadable(name, err).Err()
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, doctor.MaxBytes+1))
	if err != nil {
		return nil, strictyaml.Unreadable(name, err).Err()
	}
	return data, nil
}

// adminURL gives the URL of the config dump, and the Unix socket to ask it at.
func adminURL(target string) (dump, socket string, err error) {
	if !strings.Contains(target, "://") {
		target = "http://" + target
	}
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("it is no URL: %w", errors.Unwrap(err))
	case u.Scheme == "unix" && u.Path != "":
		return "http://envoy/config_dump", u.Path, nil
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", "", errors.New("it must be http://HOST:PORT or unix:///PATH")
	}
	if !strings.HasSuffix(u.Path, "/config_dump") {
		u.Path = strings.TrimRight(u.Path, "/") + "/config_dump"
	}
	u.Fragment = ""
	return u.String(), "", nil
}

const (
	dumpTimeout = 30 * time.Second
	dialTimeout = 5 * time.Second
)

// fetchDump asks an admin interface for its config dump.
func fetchDump(ctx context.Context, source Source, dump, socket string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, dumpTimeout)
	defer cancel()
	dialer := net.Dialer{Timeout: dialTimeout}
	client := http.Client{
		// An admin interface is asked directly, by no proxy, and redirects nobody.
		Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: dumpTimeout / 2, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if socket != "" {
				network, address = "unix", socket
			}
			return dialer.DialContext(ctx, network, address)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, dump, nil)
	if err != nil {
		return nil, &TargetError{fmt.Errorf("%s: %w", source.Name, err)}
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, source.unreached(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, doctor.MaxBytes+1))
	if err != nil {
		return nil, source.unreached(err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, source.refused(response, data)
	}
	return data, nil
}

// unreached says why nothing that is HTTP answered.
func (s Source) unreached(err error) error {
	var timeout interface{ Timeout() bool }
	var record tls.RecordHeaderError
	var dns *net.DNSError
	switch cause := err.Error(); {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: nobody listens there (connection refused); is Envoy running? %s", s.Name, adminHint)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s: there is no such socket; is Envoy running? %s", s.Name, adminHint)
	case errors.As(err, &dns):
		return fmt.Errorf("%s: there is no host %s", s.Name, dns.Name)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%s does not answer; is the address right, and reachable from here? %s", s.Name, adminHint)
	case errors.As(err, &record), strings.Contains(cause, "HTTP response to HTTPS client"):
		return fmt.Errorf("%s speaks no TLS: write http://; %s", s.Name, adminHint)
	// The second is net/http's word for a server that speaks before it is asked, as
	// one of HTTP/2 does; which of the two it is depends on who is first.
	case strings.Contains(cause, "malformed HTTP"), strings.Contains(cause, "readLoopPeekFailLocked: %!w(<nil>)"):
		return fmt.Errorf("%s answers, but not in HTTP/1.1: it is a gRPC port (Scopeward's own?) or one with TLS, and not Envoy's admin interface; %s", s.Name, adminHint)
	default:
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL, which stands in front already
		}
		return fmt.Errorf("%s: %w; %s", s.Name, err, adminHint)
	}
}

// refused says what an answer other than 200 to /config_dump means.
func (s Source) refused(response *http.Response, body []byte) error {
	if text := string(body); strings.HasPrefix(text, "request to path /config_dump") && strings.HasSuffix(text, "not allowed") {
		return fmt.Errorf("%s is Envoy's admin interface, but its admin.allow_paths leaves out /config_dump; add {prefix: /config_dump}, or give the bootstrap file", s.Name)
	}
	what := "that is not Envoy's admin interface"
	if response.Header.Get("Server") == "envoy" {
		what = "that is a listener of Envoy for clients, and not its admin interface"
	}
	return fmt.Errorf("%s answers %s to /config_dump: %s; %s", s.Name, response.Status, what, adminHint)
}

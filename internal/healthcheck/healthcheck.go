// Package healthcheck asks a running service for its health.
package healthcheck

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"scopeward/internal/config"
	"scopeward/internal/strictyaml"
)

// healthCredentials are those of a client of the service's own. It doesn't verify
// the service: it asks on the same machine, and for nothing that could be abused.
func healthCredentials(c *config.Config) (_ credentials.TransportCredentials, mutual bool, err error) {
	if !c.Listen.TLS {
		return insecure.NewCredentials(), false, nil
	}
	pair, err := c.ClientCertificate()
	conn := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	if pair != nil {
		conn.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	}
	return credentials.NewTLS(conn), pair != nil, err
}

// Ask returns nil if the service of a configuration is SERVING, else what is wrong
// and what to do.
func Ask(ctx context.Context, c *config.Config, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := askService(ctx, c); err != nil {
		return explainHealth(reachable(c.Listen.GRPC), timeout, err)
	}
	return nil
}

// askService returns nil if the service of a configuration is SERVING. Where the
// files of listen.tls are broken, they don't open the gRPC listener, but the
// service goes on with what was last good: then the admin listener knows.
func askService(ctx context.Context, c *config.Config) error {
	creds, mutual, err := healthCredentials(c)
	if err == nil {
		err = askHealth(ctx, reachable(c.Listen.GRPC), creds)
	}
	refused := err != nil && !errors.Is(err, errNotServing) && ctx.Err() == nil
	if admin := c.Listen.Admin; mutual && refused && admin != "" {
		if askAdmin(ctx, reachable(admin)) == nil {
			return nil
		}
	}
	return err
}

// askAdmin returns nil if an admin listener says that its service is ready.
func askAdmin(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req) // without a proxy
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errNotServing
	}
	return nil
}

// reachable makes of an address to listen on one to be asked: of all interfaces,
// loopback.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil { // a Unix socket
		return address
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "", err == nil && ip.Unmap() == netip.IPv4Unspecified():
		host = "127.0.0.1"
	case err == nil && ip == netip.IPv6Unspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

var errNotServing = errors.New("NOT_SERVING")

// askHealth returns nil if the service at an address is SERVING.
func askHealth(ctx context.Context, address string, creds credentials.TransportCredentials) error {
	target := address
	if !strings.HasPrefix(address, "unix://") {
		target = "passthrough:///" + address
	}
	conn, err := grpc.NewClient(target, grpc.WithNoProxy(), grpc.WithTransportCredentials(alertCredentials{creds}))
	if err != nil {
		return err
	}
	defer conn.Close()
	health, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	if err == nil && health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		return errNotServing
	}
	return err
}

// alertCredentials give connections that tell why a service closed them. In TLS 1.3 a
// client's handshake is over before the service has looked at its certificate: what is
// written next may fail, and the alert that says why be left unread.
type alertCredentials struct {
	credentials.TransportCredentials
}

func (c alertCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	return alertConn{conn}, info, nil
}

func (c alertCredentials) Clone() credentials.TransportCredentials { return c }

type alertConn struct{ net.Conn }

func (c alertConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		if _, alert := c.Conn.Read(make([]byte, 1)); alert != nil && strings.Contains(alert.Error(), "tls: ") {
			err = alert
		}
	}
	return n, err
}

// explainHealth says what an error of askService means, and what to do.
func explainHealth(address string, timeout time.Duration, err error) error {
	var problems strictyaml.Problems
	if errors.As(err, &problems) {
		return problems
	}
	switch status.Code(err) {
	case codes.Unimplemented:
		return fmt.Errorf("%s answers, but is no Scopeward: it has no gRPC health service; tell the right address by --addr or --config", address)
	case codes.DeadlineExceeded:
		return fmt.Errorf("%s did not answer within %s", address, timeout)
	case codes.Unavailable:
		reason := strings.NewReplacer("connection error: desc = ", "", "transport: Error while dialing: ", "", `"`, "").Replace(status.Convert(err).Message())
		switch {
		case strings.Contains(reason, "tls: "): // an alert of the service's, or plaintext
			return fmt.Errorf("%s can't be asked: %s; tell its listen.tls by --config, as it is in force", address, reason)
		case strings.Contains(reason, "error reading server preface"):
			return fmt.Errorf("%s can't be asked in plaintext: %s; if it has listen.tls, tell its --config", address, reason)
		}
		return fmt.Errorf("%s can't be asked: %s; is scopeward serve running, and is this its listen.grpc?", address, reason)
	}
	if errors.Is(err, errNotServing) {
		return fmt.Errorf("%s is NOT_SERVING: it is starting or ending; /readyz on its admin listener says why", address)
	}
	return fmt.Errorf("%s: %w", address, err)
}

package serve

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"scopeward/internal/config"
)

// connectionTLS is the TLS of new connections. Session tickets would let a client back
// in whose certificate has been ruled out since.
func connectionTLS(c *config.Certificates) *tls.Config {
	conn := &tls.Config{
		Certificates: []tls.Certificate{c.Pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2"},
	}
	if c.Clients != nil {
		conn.ClientAuth = tls.RequireAnyClientCert // and verifyClient says which
		conn.ClientCAs = c.Clients
		conn.SessionTicketsDisabled = true
		conn.VerifyConnection = func(state tls.ConnectionState) error { return verifyClient(c, state) }
	}
	return conn
}

// verifyClient is called in each handshake, after the client has proved that it
// has its certificate's key.
func verifyClient(c *config.Certificates, state tls.ConnectionState) error {
	leaf := state.PeerCertificates[0]
	if bytes.Equal(leaf.Raw, c.Pair.Certificate[0]) {
		return nil // the service's own: healthcheck
	}
	options := x509.VerifyOptions{
		Roots:         c.Clients,
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, intermediate := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	if _, err := leaf.Verify(options); err != nil {
		return fmt.Errorf("the certificate of %q: %w", leaf.Subject, err)
	}
	if len(c.Names) > 0 && !slices.ContainsFunc(c.Names, func(name string) bool { return isNamed(leaf, name) }) {
		return &wrongNameError{leaf}
	}
	return nil
}

// isNamed tells whether a certificate has exactly this DNS name or URI.
func isNamed(c *x509.Certificate, name string) bool {
	for _, dns := range c.DNSNames {
		if strings.EqualFold(dns, name) {
			return true
		}
	}
	for _, uri := range c.URIs {
		// A SPIFFE ID is the certificate's only URI (X509-SVID section 2).
		if uri.String() == name && (uri.Scheme != "spiffe" || len(c.URIs) == 1) {
			return true
		}
	}
	return false
}

// wrongNameError is a client whose certificate is good, but not one of client_names.
type wrongNameError struct{ leaf *x509.Certificate }

func (e *wrongNameError) Error() string {
	var names []string
	names = append(names, e.leaf.DNSNames...)
	for _, uri := range e.leaf.URIs {
		names = append(names, uri.String())
	}
	return fmt.Sprintf("listen.tls.client_names has none of the certificate's names %q", names)
}

// expiry is when the certificate stops to be valid.
func expiry(c *config.Certificates) time.Time { return c.Pair.Leaf.NotAfter }

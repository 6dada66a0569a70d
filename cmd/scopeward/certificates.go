package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"scopeward/internal/strictyaml"
)

// certificates are what listen.tls names, read from the files. They don't change.
type certificates struct {
	pair    tls.Certificate
	clients *x509.CertPool // nil: clients are not asked for a certificate
	names   []string       // the clients that may connect; empty: any of clients
	version [sha256.Size]byte
}

// readCertificates reads the files of listen.tls, which must be there; a mistake
// stands where its file is named. What now says has expired is one.
func readCertificates(c *Config, now time.Time) (*certificates, strictyaml.Problems) {
	t := c.Listen.TLS.Value
	v := &validator{file: c.file}
	cert := v.readPEM(c.dir(), "listen.tls.cert", t.Cert)
	key := v.readPEM(c.dir(), "listen.tls.key", t.Key)
	ca := v.readPEM(c.dir(), "listen.tls.client_ca", t.ClientCA)
	certs := &certificates{version: digest(cert, key, ca, []byte(textOf(t.ClientNames)))}
	if cert != nil && v.serverCertificate(t.Cert, cert, now) && key != nil && v.privateKey(t.Key, key) {
		certs.pair = v.keyPair(t, cert, key)
	}
	if ca != nil {
		pool, err := certPool(ca, now)
		if err != nil {
			v.add(t.ClientCA.Pos, "listen.tls.client_ca: %s %v", t.ClientCA.Value, err)
		}
		certs.clients = pool
	}
	for _, name := range t.ClientNames {
		certs.names = append(certs.names, string(name.Value))
	}
	return certs, v.problems
}

func (v *validator) keyPair(t TLS, cert, key []byte) tls.Certificate {
	pair, err := tls.X509KeyPair(cert, key)
	switch {
	case err != nil && strings.Contains(err.Error(), "does not match"):
		v.add(t.Key.Pos, "listen.tls.key: %s does not fit the certificate %s: take the key that the certificate was made for", t.Key.Value, t.Cert.Value)
	case err != nil:
		v.add(t.Key.Pos, "listen.tls.key: %s can't be used: %v", t.Key.Value, err)
	}
	return pair
}

// readPEM reads a file; nil if there is none or it can't be read.
func (v *validator) readPEM(dir, what string, name located) []byte {
	if name.Value == "" {
		return nil
	}
	data, unreadable := strictyaml.ReadFile(absolute(dir, string(name.Value)))
	if unreadable != nil {
		v.add(name.Pos, "%s: %v", what, unreadable)
		return nil
	}
	return data
}

// serverCertificate tells whether a certificate can be served, apart from its key.
func (v *validator) serverCertificate(name located, data []byte, now time.Time) bool {
	before := len(v.problems)
	chain, err := parseCertificates(data)
	if err != nil {
		v.add(name.Pos, "listen.tls.cert: %s %v", name.Value, err)
		return false
	}
	for i, c := range chain {
		who := ""
		if i > 0 {
			who = fmt.Sprintf(": its intermediate %q", c.Subject)
		}
		switch {
		case now.After(c.NotAfter):
			v.add(name.Pos, "listen.tls.cert: %s%s has expired at %s: renew it", name.Value, who, c.NotAfter.Format(time.RFC3339))
		case now.Before(c.NotBefore):
			v.add(name.Pos, "listen.tls.cert: %s%s is valid only from %s: wait, or set the clock right", name.Value, who, c.NotBefore.Format(time.RFC3339))
		}
	}
	if usages := chain[0].ExtKeyUsage; len(usages) > 0 && !slices.Contains(usages, x509.ExtKeyUsageServerAuth) && !slices.Contains(usages, x509.ExtKeyUsageAny) {
		v.add(name.Pos, "listen.tls.cert: %s is no server's certificate: its extended key usage lacks serverAuth", name.Value)
	}
	return len(v.problems) == before
}

func (v *validator) privateKey(name located, data []byte) (ok bool) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if strings.HasPrefix(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "" {
			v.add(name.Pos, "listen.tls.key: %s is encrypted, and nobody is there to type its password: decrypt it (openssl pkey -in %[1]s -out plain.key) and guard the file", name.Value)
			return false
		}
		return true
	}
	v.add(name.Pos, "listen.tls.key: %s holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)", name.Value)
	return false
}

// certPool is a bundle of CAs; one in which none is valid any more is an error.
// The error goes on after the file's name.
func certPool(data []byte, now time.Time) (*x509.CertPool, error) {
	authorities, err := parseCertificates(data)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(authorities, func(c *x509.Certificate) bool { return now.Before(c.NotAfter) }) {
		return nil, errors.New("holds only certificates that have expired: replace them")
	}
	pool := x509.NewCertPool()
	for _, c := range authorities {
		pool.AddCert(c)
	}
	return pool, nil
}

// parseCertificates gives the certificates in a PEM file, at least one. The
// error goes on after the file's name.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("holds a certificate that can't be read: %w", err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errors.New("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
	}
	return list, nil
}

// digest tells contents apart.
func digest(parts ...[]byte) [sha256.Size]byte {
	sum := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// config is the TLS of new connections. Session tickets would let a client back
// in whose certificate has been ruled out since.
func (c *certificates) config() *tls.Config {
	config := &tls.Config{
		Certificates: []tls.Certificate{c.pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2"},
	}
	if c.clients != nil {
		config.ClientAuth = tls.RequireAnyClientCert // and verifyClient says which
		config.ClientCAs = c.clients
		config.SessionTicketsDisabled = true
		config.VerifyConnection = c.verifyClient
	}
	return config
}

// verifyClient is called in each handshake, after the client has proved that it
// has its certificate's key.
func (c *certificates) verifyClient(state tls.ConnectionState) error {
	leaf := state.PeerCertificates[0]
	if bytes.Equal(leaf.Raw, c.pair.Certificate[0]) {
		return nil // the service's own: healthcheck
	}
	options := x509.VerifyOptions{
		Roots:         c.clients,
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, intermediate := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	if _, err := leaf.Verify(options); err != nil {
		return fmt.Errorf("the certificate of %q: %w", leaf.Subject, err)
	}
	if len(c.names) > 0 && !slices.ContainsFunc(c.names, func(name string) bool { return isNamed(leaf, name) }) {
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
func (c *certificates) expiry() time.Time { return c.pair.Leaf.NotAfter }

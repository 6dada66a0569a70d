package config

import (
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

// Certificates are what listen.tls names, read from the files. They don't change.
type Certificates struct {
	Pair    tls.Certificate
	Clients *x509.CertPool // nil: clients are not asked for a certificate
	Names   []string       // the clients that may connect; empty: any of Clients
	Version [sha256.Size]byte
}

// Certificates reads the files of listen.tls, which must be there; a mistake stands where
// its file is named. What has expired is one.
func (c *Config) Certificates() (*Certificates, strictyaml.Problems) {
	return c.document.certificates(time.Now())
}

func (d *document) certificates(now time.Time) (*Certificates, strictyaml.Problems) {
	t := d.Listen.TLS.Value
	v := &validator{file: d.file}
	cert := v.readPEM(d.dir(), "listen.tls.cert", t.Cert)
	key := v.readPEM(d.dir(), "listen.tls.key", t.Key)
	ca := v.readPEM(d.dir(), "listen.tls.client_ca", t.ClientCA)
	certs := &Certificates{
		Names:   stringsOf(t.ClientNames),
		Version: digest(cert, key, ca, []byte(textOf(t.ClientNames))),
	}
	if cert != nil && v.serverCertificate(t.Cert, cert, now) && key != nil && v.privateKey(t.Key, key) {
		certs.Pair = v.keyPair(t, cert, key)
	}
	if ca != nil {
		pool, err := certPool(ca, now)
		if err != nil {
			v.add(t.ClientCA.Pos, "listen.tls.client_ca: %s %v", t.ClientCA.Value, err)
		}
		certs.Clients = pool
	}
	return certs, v.problems
}

// ClientCertificate is what a client of the service's own shows: nil where clients are
// asked for none.
func (c *Config) ClientCertificate() (*tls.Certificate, error) {
	if c.document.Listen.TLS == nil {
		return nil, nil
	}
	d, t := c.document, c.document.Listen.TLS.Value
	if t.ClientCA.Value == "" {
		return nil, nil
	}
	v := &validator{file: d.file}
	pair := &tls.Certificate{}
	cert, key := v.readPEM(d.dir(), "listen.tls.cert", t.Cert), v.readPEM(d.dir(), "listen.tls.key", t.Key)
	if len(v.problems) == 0 {
		*pair = v.keyPair(t, cert, key)
	}
	return pair, v.problems.Err()
}

func (v *validator) keyPair(t tlsSection, cert, key []byte) tls.Certificate {
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

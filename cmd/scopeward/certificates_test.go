package main

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scopeward/internal/testenv/pki"
)

const tlsPolicy = "version: 1\nrules:\n  - match: /healthz\n    public: true\n"

// tlsConfig is a configuration whose third line is listen.tls.
func tlsConfig(tls string) string {
	return "listen:\n  grpc: 127.0.0.1:0\n  tls: " + tls +
		"\nproviders: [{name: a, issuer: 'https://a.example.com', audiences: [a]}]\npolicy: [policy.yaml]\n"
}

// tlsFolder has a policy, and every kind of certificate.
func tlsFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	now := time.Now()
	ca := pki.NewCA(t, "corporation")
	ca.Issue(t, pki.Leaf{Names: []string{"localhost", "127.0.0.1"}}).Write(t, dir, "good")
	ca.Issue(t, pki.Leaf{Names: []string{"localhost"}}).Write(t, dir, "other")
	ca.Issue(t, pki.Leaf{Names: []string{"localhost"}, NotBefore: now.Add(-2 * time.Hour), Expiry: now.Add(-time.Hour)}).Write(t, dir, "expired")
	ca.Issue(t, pki.Leaf{Names: []string{"localhost"}, NotBefore: now.Add(time.Hour), Expiry: now.Add(2 * time.Hour)}).Write(t, dir, "early")
	ca.Issue(t, pki.Leaf{Names: []string{"localhost"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}).Write(t, dir, "client")
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, text := range map[string]string{
		"ca.crt": string(ca.PEM), "policy.yaml": tlsPolicy, "empty.crt": "", "text.key": "no key\n",
		"locked.key":  "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"garbage.key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"garbage.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"chain.crt":   read("good.crt") + read("expired.crt"),
	} {
		pki.Write(t, filepath.Join(dir, name), []byte(text))
	}
	return dir
}

func TestCheckCertificates(t *testing.T) {
	t.Parallel()
	dir := tlsFolder(t)
	for name, test := range map[string]struct {
		tls  string
		want string // "" if all is well
	}{
		"TLS":                   {"{cert: good.crt, key: good.key}", ""},
		"mutual TLS":            {"{cert: good.crt, key: good.key, client_ca: ca.crt}", ""},
		"no client names":       {"{cert: good.crt, key: good.key, client_ca: ca.crt, client_names: []}", ""},
		"client names":          {"{cert: good.crt, key: good.key, client_ca: ca.crt, client_names: [envoy.example.com, 'spiffe://cluster.local/ns/a/sa/b', 'urn:x:y']}", ""},
		"no key":                {"{cert: good.crt}", "3:8: listen.tls needs cert and key"},
		"no certificate":        {"{key: good.key}", "cert is missing"},
		"a missing file":        {"{cert: none.crt, key: good.key}", "3:15: listen.tls.cert: " + dir + "/none.crt: cannot be read: no such file or directory"},
		"a missing key":         {"{cert: good.crt, key: none.key}", "3:30: listen.tls.key: " + dir + "/none.key: cannot be read"},
		"a missing CA":          {"{cert: good.crt, key: good.key, client_ca: none.crt}", "3:51: listen.tls.client_ca: " + dir + "/none.crt: cannot be read"},
		"a folder":              {"{cert: ., key: good.key}", "cannot be read: is a directory"},
		"an empty certificate":  {"{cert: empty.crt, key: good.key}", "3:15: listen.tls.cert: empty.crt holds no certificate in PEM form"},
		"a key as certificate":  {"{cert: good.key, key: good.key}", "3:15: listen.tls.cert: good.key holds no certificate in PEM form"},
		"a certificate as key":  {"{cert: good.crt, key: good.crt}", "3:30: listen.tls.key: good.crt holds no private key in PEM form"},
		"no PEM":                {"{cert: good.crt, key: text.key}", "3:30: listen.tls.key: text.key holds no private key in PEM form"},
		"an encrypted key":      {"{cert: good.crt, key: locked.key}", "locked.key is encrypted, and nobody is there to type its password: decrypt it (openssl pkey -in locked.key"},
		"a garbled key":         {"{cert: good.crt, key: garbage.key}", "3:30: listen.tls.key: garbage.key can't be used"},
		"a garbled certificate": {"{cert: garbage.crt, key: good.key}", "garbage.crt holds a certificate that can't be read"},
		"a key that does not fit": {
			"{cert: good.crt, key: other.key}", "3:30: listen.tls.key: other.key does not fit the certificate good.crt: take the key that the certificate was made for",
		},
		"an expired certificate":            {"{cert: expired.crt, key: expired.key}", "3:15: listen.tls.cert: expired.crt has expired at "},
		"an expired intermediate":           {"{cert: chain.crt, key: good.key}", `chain.crt: its intermediate "CN=localhost" has expired at `},
		"a certificate of the future":       {"{cert: early.crt, key: early.key}", "early.crt is valid only from "},
		"a client's certificate":            {"{cert: client.crt, key: client.key}", "client.crt is no server's certificate"},
		"a CA without certificates":         {"{cert: good.crt, key: good.key, client_ca: empty.crt}", "3:51: listen.tls.client_ca: empty.crt holds no certificate in PEM form"},
		"an expired CA":                     {"{cert: good.crt, key: good.key, client_ca: expired.crt}", "expired.crt holds only certificates that have expired"},
		"an empty name of the CA":           {"{cert: good.crt, key: good.key, client_ca: ''}", "3:51: listen.tls.client_ca is empty"},
		"client names without a CA":         {"{cert: good.crt, key: good.key, client_names: [a.example.com]}", "3:55: listen.tls.client_names needs client_ca"},
		"a wildcard as client name":         {"{cert: good.crt, key: good.key, client_ca: ca.crt, client_names: ['*.example.com']}", `3:74: listen.tls.client_names: "*.example.com" is neither`},
		"an address as client name":         {"{cert: good.crt, key: good.key, client_ca: ca.crt, client_names: [10.0.0.1]}", `"10.0.0.1" is neither`},
		"an empty client name":              {"{cert: good.crt, key: good.key, client_ca: ca.crt, client_names: ['']}", `"" is neither`},
		"a wildcard in a SPIFFE ID":         {"{cert: good.crt, key: good.key, client_ca: ca.crt, client_names: ['spiffe://cluster.local/ns/*/sa/b']}", "is neither"},
		"an unknown key":                    {"{cert: good.crt, key: good.key, ca: ca.crt}", `unknown key "ca"`},
		"a mistake in each of two files":    {"{cert: empty.crt, key: good.key, client_ca: empty.crt}", "2 mistakes found"},
		"a mistake there and in the policy": {"{cert: empty.crt, key: good.key}\nnonsense: true", "2 mistakes found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".yaml")
			pki.Write(t, config, []byte(tlsConfig(test.tls)))
			var stdout, stderr strings.Builder
			exit, want := run([]string{"check", "--config", config}, &stdout, &stderr), 1
			if test.want == "" {
				want = 0
			}
			if exit != want || !strings.Contains(stderr.String(), test.want) {
				t.Errorf("exit status %d, want %d and %q; it says:\n%s%s", exit, want, test.want, &stdout, &stderr)
			}
			if strings.Contains(stderr.String(), "AAAA") {
				t.Error("the message quotes a key")
			}
		})
	}
}

func TestCheckProviderCA(t *testing.T) {
	t.Parallel()
	dir := tlsFolder(t)
	for ca, want := range map[string]string{
		"ca.crt":      "",
		"none.crt":    "1:76: ca: " + dir + "/none.crt: cannot be read: no such file or directory",
		"good.key":    "1:76: ca: good.key holds no certificate in PEM form",
		"expired.crt": "1:76: ca: expired.crt holds only certificates that have expired",
		"''":          `1:76: provider "a" has an empty ca`,
	} {
		config := filepath.Join(dir, "provider.yaml")
		pki.Write(t, config, []byte("providers: [{name: a, issuer: 'https://a.example.com', audiences: [a], ca: "+ca+"}]\npolicy: [policy.yaml]\n"))
		var stdout, stderr strings.Builder
		if exit := run([]string{"check", "--config", config}, &stdout, &stderr); (exit == 0) != (want == "") || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit status %d, it says %s\nwant: %s", ca, exit, &stderr, want)
		}
	}
}

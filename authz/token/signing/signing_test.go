package signing_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"scopeward/authz/token/signing"
)

// TestParseKey: what can sign is read in each of its forms, and what is wrong with
// another key is said.
func TestParseKey(t *testing.T) {
	pkcs8 := func(key crypto.Signer) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	rsa2048, _ := rsa.GenerateKey(rand.Reader, 2048)
	rsa1024, err := x509.ParsePKCS1PrivateKey(weak(t))
	if err != nil {
		t.Fatal(err)
	}
	sec1, _ := x509.MarshalECPrivateKey(p256)
	public, _ := x509.MarshalPKIXPublicKey(p256.Public())
	for name, c := range map[string]struct {
		data       []byte
		alg, fault string
	}{
		"P-256":      {pkcs8(p256), "ES256", ""},
		"of OpenSSL": {append(block("EC PARAMETERS", []byte{6, 8, 42}), block("EC PRIVATE KEY", sec1)...), "ES256", ""},
		"Ed25519":    {pkcs8(ed), "EdDSA", ""},
		"RSA":        {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa2048)), "RS256", ""},
		"weak":       {pkcs8(rsa1024), "", "1024 bits"},
		"P-384":      {pkcs8(p384), "", "P-384"},
		"encrypted":  {block("ENCRYPTED PRIVATE KEY", sec1), "", "encrypted"},
		"public":     {block("PUBLIC KEY", public), "", "it is a public key"},
		"broken":     {block("PRIVATE KEY", sec1[:20]), "", "can be read"},
		"text":       {[]byte("secret"), "", "PEM"},
		"empty":      {nil, "", "PEM"},
	} {
		key, err := signing.ParseKey(c.data)
		switch {
		case c.fault != "":
			if err == nil || !strings.Contains(err.Error(), c.fault) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil || signing.Method(key).Alg() != c.alg:
			t.Errorf("%s: %v", name, err)
		}
	}
	if signing.Method(rsa1024) != nil || signing.Method(p384) != nil {
		t.Error("a key that ParseKey refuses has an algorithm")
	}
}

// weak is a key that Go makes no more.
func weak(t *testing.T) []byte {
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return x509.MarshalPKCS1PrivateKey(key)
}

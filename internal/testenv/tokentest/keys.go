package tokentest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

type key struct {
	kid, alg string
	private  crypto.Signer
}

// Rotate signs new tokens with a new RSA key. The old keys stay published until
// Drop.
func (p *Provider) Rotate() { p.RotateTo("RS256") }

// RotateTo is Rotate to a key for another algorithm.
func (p *Provider) RotateTo(alg string) {
	p.t.Helper()
	private := newKey(p.t, alg)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keyCount++
	p.keys = append(p.keys, key{fmt.Sprintf("key-%d", p.keyCount), alg, private})
}

// Drop withdraws all keys but the current one.
func (p *Provider) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = p.keys[len(p.keys)-1:]
}

// Publish serves a key set as it is written; "" serves the provider's keys.
func (p *Provider) Publish(document string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.document = document
}

// JWKS is the key set with the provider's keys, and with these JWKs before them.
func (p *Provider) JWKS(more ...string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.keys {
		more = append(more, k.jwk(p.t))
	}
	return `{"keys":[` + strings.Join(more, ",") + `]}`
}

// Signer is the current private key, for tokens that Mint would not make.
func (p *Provider) Signer() (kid string, private crypto.Signer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.keys[len(p.keys)-1]
	return k.kid, k.private
}

func newKey(t testing.TB, alg string) crypto.Signer {
	t.Helper()
	curves := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}
	var private crypto.Signer
	var err error
	switch alg {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		private = RSAKey(t)
	case "ES256", "ES384", "ES512":
		private, err = ecdsa.GenerateKey(curves[alg], rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("tokentest has no keys for %s", alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// rsaKeys are those that no test has now: to make one takes a fifth of a second under the
// race detector, and there are hundreds of tests.
var rsaKeys struct {
	sync.Mutex
	free []*rsa.PrivateKey
}

// RSAKey is a key of 2048 bits that nobody else has until the test ends.
func RSAKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	private := freeRSAKey()
	if private == nil {
		var err error
		if private, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		rsaKeys.Lock()
		defer rsaKeys.Unlock()
		rsaKeys.free = append(rsaKeys.free, private)
	})
	return private
}

func freeRSAKey() *rsa.PrivateKey {
	rsaKeys.Lock()
	defer rsaKeys.Unlock()
	last := len(rsaKeys.free) - 1
	if last < 0 {
		return nil
	}
	private := rsaKeys.free[last]
	rsaKeys.free = rsaKeys.free[:last]
	return private
}

func (k key) sign(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	tok := jwt.NewWithClaims(jwt.GetSigningMethod(k.alg), jwt.MapClaims(claims))
	tok.Header = changed(map[string]any{"alg": k.alg, "kid": k.kid}, header)
	raw, err := tok.SignedString(k.private)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// jwk is written by hand rather than by the library that the product reads keys
// with.
func (k key) jwk(t testing.TB) string {
	t.Helper()
	members := map[string]string{"kid": k.kid, "alg": k.alg, "use": "sig"}
	b64 := base64.RawURLEncoding.EncodeToString
	switch pub := k.private.Public().(type) {
	case *rsa.PublicKey:
		members["kty"], members["n"], members["e"] = "RSA", b64(pub.N.Bytes()), "AQAB"
	case *ecdsa.PublicKey:
		point, err := pub.Bytes() // 4, x, y
		if err != nil {
			t.Fatal(err)
		}
		half := len(point) / 2
		members["kty"], members["crv"] = "EC", pub.Params().Name
		members["x"], members["y"] = b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		members["kty"], members["crv"], members["x"] = "OKP", "Ed25519", b64(pub)
	}
	data, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

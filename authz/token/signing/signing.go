// Package signing holds what Scopeward needs of private keys by which it signs JWTs
// itself: to say who it is to a provider, and who asks to the service behind.
package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// minRSA is the least size of an RSA key in bits (RFC 7518 §3.3).
const minRSA = 2048

// Method is the algorithm that fits a key of [ParseKey]: RS256, ES256 or EdDSA. It is nil
// for another key.
func Method(key crypto.Signer) jwt.SigningMethod {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() >= minRSA {
			return jwt.SigningMethodRS256
		}
	case *ecdsa.PrivateKey:
		if k.Curve == elliptic.P256() {
			return jwt.SigningMethodES256
		}
	case ed25519.PrivateKey:
		return jwt.SigningMethodEdDSA
	}
	return nil
}

// ParseKey reads a private key in PEM form: RSA of at least 2048 bits, P-256 or Ed25519.
// Its error never contains anything of the key.
func ParseKey(data []byte) (crypto.Signer, error) {
	key, err := decode(data)
	if err != nil {
		return nil, err
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if bits := k.N.BitLen(); bits < minRSA {
			return nil, fmt.Errorf("the RSA key has %d bits, and needs %d at least: make another, such as by openssl genpkey -algorithm ed25519", bits, minRSA)
		}
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() {
			return nil, fmt.Errorf("the key is of the curve %s; the one that is supported is P-256 (ES256): "+
				"make another by openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", k.Curve.Params().Name)
		}
	case ed25519.PrivateKey:
	default:
		return nil, errors.New("the key is neither RSA, P-256 nor Ed25519, and can't sign a JWT")
	}
	return key.(crypto.Signer), nil
}

// decode reads the first private key of a PEM file; EC files of OpenSSL begin with the
// parameters of the curve.
func decode(data []byte) (any, error) {
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, errors.New("it is no private key in PEM form (-----BEGIN PRIVATE KEY-----)")
		}
		data = rest
		var key any
		var err error
		switch {
		case block.Type == "EC PARAMETERS":
			continue
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return nil, errors.New("the key is encrypted: decrypt it first (openssl pkey)")
		case block.Type == "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case block.Type == "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case block.Type == "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		default:
			return nil, fmt.Errorf("it is a %s, and no private key", strings.ToLower(block.Type))
		}
		if err != nil {
			return nil, errors.New("it is no RSA, P-256 or Ed25519 private key that can be read")
		}
		return key, nil
	}
}

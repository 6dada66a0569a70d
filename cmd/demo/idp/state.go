package idp

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// state is all that the provider must still know after it was killed. Each change is on disk before it is answered.
type state struct {
	file string

	mu   sync.Mutex
	data stateData
}

type stateData struct {
	CryptoKey [32]byte          // encrypts opaque tokens
	Secret    string            // of the confidential client
	Keys      []signingKey      // the newest is the last; it signs
	Tokens    map[string]grant  // by token id
	Devices   map[string]device // by device code
}

// grant is what an access token stands for.
type grant struct {
	Subject  string
	ClientID string
	Audience []string
	Scopes   []string
	Issued   time.Time
	Expiry   time.Time
	Opaque   bool
	Issuer   string
}

// grant implements op.TokenRequest.
func (g *grant) GetSubject() string    { return g.Subject }
func (g *grant) GetAudience() []string { return g.Audience }
func (g *grant) GetScopes() []string   { return g.Scopes }
func (g *grant) GetClientID() string   { return g.ClientID }

// device is a device authorization (RFC 8628) that a person has or has not decided about.
type device struct {
	UserCode string
	State    op.DeviceAuthorizationState
}

// open reads the state from dir, or makes a new one there.
func open(dir string) (*state, error) {
	s := &state{file: filepath.Join(dir, "provider.json")}
	b, err := os.ReadFile(s.file)
	if err == nil {
		if err := json.Unmarshal(b, &s.data); err != nil {
			return nil, fmt.Errorf("%s: %w", s.file, err)
		}
		return s, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	s.data = stateData{Secret: rand.Text(), Tokens: map[string]grant{}, Devices: map[string]device{}}
	rand.Read(s.data.CryptoKey[:])
	return s, s.rotate()
}

// change runs f on the data and saves it, if f returns no error.
func (s *state) change(f func(*stateData) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := f(&s.data); err != nil {
		return err
	}
	b, err := json.Marshal(s.data)
	if err != nil {
		return err
	}
	tmp := s.file + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, s.file)
}

// rotate adds a key, which signs from now on; the older keys stay published.
func (s *state) rotate() error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	k := signingKey{Kid: rand.Text()[:8], private: private}
	return s.change(func(d *stateData) error {
		d.Keys = append(d.Keys, k)
		return nil
	})
}

// drop forgets every key but the one that signs: tokens of the others are no longer good.
func (s *state) drop() error {
	return s.change(func(d *stateData) error {
		d.Keys = d.Keys[len(d.Keys)-1:]
		return nil
	})
}

func (s *state) keys() []signingKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.data.Keys)
}

// token returns what a token stands for, unless it is unknown, revoked, expired or of another issuer.
func (s *state) token(id, issuer string) (grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.data.Tokens[id]
	if !ok || g.Issuer != issuer || !time.Now().Before(g.Expiry) {
		return grant{}, errors.New("the access token is invalid or expired")
	}
	return g, nil
}

func (s *state) addToken(g grant) (id string, err error) {
	id = rand.Text()
	return id, s.change(func(d *stateData) error {
		maps.DeleteFunc(d.Tokens, func(_ string, old grant) bool { return time.Now().After(old.Expiry) })
		d.Tokens[id] = g
		return nil
	})
}

// decide records what the person said to the device that shows this code.
func (s *state) decide(userCode string, approved bool) error {
	return s.change(func(d *stateData) error {
		for code, dev := range d.Devices {
			if dev.UserCode == strings.ToUpper(strings.TrimSpace(userCode)) && !dev.State.Done && !dev.State.Denied && time.Now().Before(dev.State.Expires) {
				dev.State.Done, dev.State.Denied, dev.State.AuthTime = approved, !approved, time.Now()
				d.Devices[code] = dev
				return nil
			}
		}
		return errors.New("no device waits for this code; it may have expired")
	})
}

// signingKey is an RS256 key. It implements op.SigningKey; publicKey implements op.Key.
type signingKey struct {
	Kid     string
	private *rsa.PrivateKey
}

type publicKey struct{ signingKey }

func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k signingKey) Key() any                                    { return k.private }
func (k signingKey) ID() string                                  { return k.Kid }
func (k publicKey) Algorithm() jose.SignatureAlgorithm           { return jose.RS256 }
func (k publicKey) Use() string                                  { return "sig" }
func (k publicKey) Key() any                                     { return &k.private.PublicKey }

type signingKeyJSON struct {
	Kid string
	DER []byte // PKCS #1
}

func (k signingKey) MarshalJSON() ([]byte, error) {
	return json.Marshal(signingKeyJSON{k.Kid, x509.MarshalPKCS1PrivateKey(k.private)})
}

func (k *signingKey) UnmarshalJSON(b []byte) (err error) {
	var j signingKeyJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	k.Kid = j.Kid
	k.private, err = x509.ParsePKCS1PrivateKey(j.DER)
	return err
}

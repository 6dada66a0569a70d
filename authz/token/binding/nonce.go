package binding

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// Nonces are what each proof must have, if so configured (RFC 9449 §9): it shows that the
// proof was not made long before it was used. A nonce is the HMAC of its period, so that
// nothing is kept, and replicas with one key take each other's.
type Nonces struct {
	key    []byte
	period time.Duration
}

// NewNonces makes nonces that are good for one to two periods. Without a key, the process
// has its own.
func NewNonces(key []byte, period time.Duration) (*Nonces, error) {
	own := make([]byte, sha256.Size)
	if len(key) == 0 {
		_, _ = rand.Read(own) // which never fails
	} else {
		var err error
		if own, err = hkdf.Key(sha256.New, key, nil, "scopeward DPoP 1: nonces", sha256.Size); err != nil {
			return nil, err
		}
	}
	return &Nonces{own, max(period, time.Second)}, nil
}

// at is the nonce of a time.
func (n *Nonces) at(t time.Time) string { return n.of(t.UnixNano() / int64(n.period)) }

func (n *Nonces) of(period int64) string {
	h := hmac.New(sha256.New, n.key)
	_ = binary.Write(h, binary.BigEndian, period)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// good reports whether a nonce is that of now, of the period before, or of the one after,
// which a replica whose clock is ahead may have begun.
func (n *Nonces) good(nonce string, now time.Time) bool {
	current := now.UnixNano() / int64(n.period)
	for _, period := range []int64{current, current - 1, current + 1} {
		if hmac.Equal([]byte(nonce), []byte(n.of(period))) {
			return true
		}
	}
	return false
}

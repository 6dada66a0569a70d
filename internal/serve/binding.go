package serve

import (
	"scopeward/authz/token/binding"
	"scopeward/internal/config"
)

// proofs is what is kept of clients' proofs from one configuration to the next.
type proofs struct {
	seen   *binding.Memory
	nonces *binding.Nonces // nil: none are asked
	shared *binding.Shared // nil: each replica has its own memory
	key    config.Secret
}

// proofBytes is the part of maxBytes that remembered proofs have.
func (s *state) proofBytes() int64 { return s.maxBytes / 16 }

// keepProofs makes what the settings ask for, and takes over what has not changed: to
// forget a proof would let it be used again.
func (s *state) keepProofs(old *state) (err error) {
	c := s.Config
	s.proofs = proofs{key: c.Sharing.Key}
	if room := binding.MemoryFor(s.proofBytes()); old == nil {
		s.proofs.seen = binding.NewMemory(room)
	} else {
		s.proofs.seen = old.proofs.seen
		s.proofs.seen.Resize(room)
	}
	if c.DPoP.Nonce {
		if old != nil && old.proofs.nonces != nil && old.Config.DPoP == c.DPoP && old.proofs.key == s.proofs.key {
			s.proofs.nonces = old.proofs.nonces
		} else if s.proofs.nonces, err = binding.NewNonces([]byte(c.Sharing.Key), c.DPoP.MaxAge); err != nil {
			return err
		}
	}
	if s.sharing.identities != nil {
		s.proofs.shared, err = binding.NewShared(s.sharing.identities.Client, []byte(c.Sharing.Key))
	}
	return err
}

// checker checks what bound tokens ask for.
func (s *state) checker() *binding.Checker {
	return binding.New(binding.Options{
		MaxAge: s.Config.DPoP.MaxAge, Nonces: s.proofs.nonces, Seen: s.proofs.seen, Shared: s.proofs.shared,
	})
}

package binding

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Memory remembers the proofs that were used, for as long as they could be used again.
// When it is full, whose key has more than its share loses the oldest of its own, and from
// then on proofs of that key that are as old are refused: a client that floods it harms
// itself. Make it with [NewMemory]; several checkers may have the same, one after another.
type Memory struct {
	mu     sync.Mutex
	most   int
	keys   map[string]*usedProofs // by thumbprint
	n      int                    // proofs in all
	maxAge time.Duration          // of those who asked last
	floor  int64                  // proofs issued until then may have been forgotten
}

// usedProofs are those of a key, in the order in which they came.
type usedProofs struct {
	order []usedProof
	names map[proofName]struct{}
	floor int64 // as in Memory
}

type usedProof struct {
	name       proofName
	issued, at int64 // Unix time
}

// proofName names a proof.
type proofName [16]byte

func (p proof) name() (n proofName) {
	sum := sha256.Sum256([]byte(p.key.Thumbprint + " " + p.id)) // thumbprints are of one length
	copy(n[:], sum[:])
	return n
}

// defaultMemory is how many proofs are remembered if nobody says otherwise.
const defaultMemory = 100_000

// proofBytes is about what a proof takes in memory.
const proofBytes = 128

// NewMemory makes a memory for so many proofs. It holds at most twice as many, where there
// are more keys than that.
func NewMemory(most int) *Memory {
	return &Memory{most: max(most, 1), keys: map[string]*usedProofs{}}
}

// Resize bounds it anew. What it remembers stays.
func (m *Memory) Resize(most int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.most = max(most, 1)
}

// MemoryFor is how many proofs take so many bytes.
func MemoryFor(bytes int64) int { return int(bytes / (2 * proofBytes)) }

// Len is how many proofs it remembers.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.n
}

// Bytes is about what they take in memory.
func (m *Memory) Bytes() int64 { return int64(m.Len()) * proofBytes }

// outcome is what the memory knows of a proof. The zero value refuses it.
type outcome uint8

const (
	replayed  outcome = iota
	forgotten         // it may have been used
	full              // there is no room
	fresh
)

// use remembers a proof, if it is fresh.
func (m *Memory) use(p proof, now time.Time, maxAge time.Duration) outcome {
	name, issued := p.name(), p.issued.Unix()
	m.mu.Lock()
	defer m.mu.Unlock()
	if maxAge > m.maxAge && m.maxAge > 0 { // of older ones some are gone already
		m.floor = max(m.floor, now.Add(-m.maxAge).Unix())
	}
	m.maxAge = maxAge
	m.tidy(now)
	key := p.key.Thumbprint
	u := m.keys[key]
	if u == nil {
		u = &usedProofs{names: map[proofName]struct{}{}}
	}
	m.expire(u, now)
	if _, seen := u.names[name]; seen {
		return replayed
	}
	if m.n >= m.most {
		switch {
		case len(u.order) > 0 && len(u.order) >= m.most/max(1, len(m.keys)):
			u.floor = max(u.floor, u.order[0].issued)
			m.drop(u)
		case m.n >= 2*m.most:
			return full
		}
	}
	if issued <= max(m.floor, u.floor) {
		return forgotten
	}
	u.names[name] = struct{}{}
	u.order = append(u.order, usedProof{name, issued, now.Unix()})
	m.keys[key] = u
	m.n++
	return fresh
}

// tidy looks after a few other keys at each use, so that those that are not used any more
// leave.
func (m *Memory) tidy(now time.Time) {
	looked := 0
	for key, u := range m.keys { // in random order
		m.expire(u, now)
		if len(u.order) == 0 && u.floor < now.Add(-m.maxAge).Unix() {
			delete(m.keys, key)
		}
		if looked++; looked == 4 {
			return
		}
	}
}

// expire drops what is too old to be used again.
func (m *Memory) expire(u *usedProofs, now time.Time) {
	last := now.Add(-m.maxAge - ahead - time.Second).Unix()
	for len(u.order) > 0 && u.order[0].at <= last {
		m.drop(u)
	}
}

func (m *Memory) drop(u *usedProofs) {
	delete(u.names, u.order[0].name)
	u.order = u.order[1:]
	m.n--
}

package token

import (
	"sync"
	"sync/atomic"
	"time"
)

// Note is what somebody made of an identity, and keeps with it for as long as the
// identity is cached.
type Note struct {
	By    [8]byte // who made it
	ID    string
	Text  string
	Until time.Time // when it counts no more
}

// fresh reports whether the note is by somebody, and counts yet.
func (n *Note) fresh(by [8]byte, now time.Time) bool {
	return n != nil && n.By == by && now.Before(n.Until)
}

// noted is the place of an identity's note.
type noted struct {
	note   atomic.Pointer[Note]
	making sync.Mutex
}

// size is what the note takes in memory.
func (n *noted) size() int {
	if note := n.note.Load(); note != nil {
		return len(note.Text) + len(note.ID) + 96
	}
	return 0
}

// Note is the identity's note by somebody; nil if there is none that counts.
func (id *Identity) Note(by [8]byte, now time.Time) *Note {
	if id.claims == nil {
		return nil
	}
	if note := id.claims.noted.note.Load(); note.fresh(by, now) {
		return note
	}
	return nil
}

// Annotate is [Identity.Note], made if there is none. Of many that call it at once, one
// makes it. An identity without claims keeps none; see [Validator.Grown].
func (id *Identity) Annotate(by [8]byte, now time.Time, note func() (*Note, error)) (*Note, error) {
	if id.claims == nil {
		return note()
	}
	n := &id.claims.noted
	n.making.Lock()
	defer n.making.Unlock()
	if known := n.note.Load(); known.fresh(by, now) {
		return known, nil
	}
	made, err := note()
	if err == nil {
		n.note.Store(made)
	}
	return made, err
}

// Grown tells the cache that more is kept with a token's identity than before.
func (v *Validator) Grown(raw string) {
	of, clock := hash(raw), v.opts.Cache.clock(v.opts.Now())
	for i := range v.opts.Providers {
		key := cacheKey(v.prefixes[i], of)
		if _, ok := v.opts.Cache.valid.Get(string(key[:])); ok {
			v.opts.Cache.valid.Update(string(key[:]), func(known accepted, _ bool) (accepted, time.Duration) {
				return known, known.until - clock + v.opts.MaxStale
			})
		}
	}
}

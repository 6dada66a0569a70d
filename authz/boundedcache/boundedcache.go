// Package boundedcache is patrickmn/go-cache with a bound on its number of
// entries, and without its janitor, which would hold the lock of the whole cache
// while it walks it.
package boundedcache

import (
	"hash/maphash"
	"sync"
	"time"

	gocache "github.com/patrickmn/go-cache"
)

// maxShards bounds how many locks the cache is spread over. A shard also is what
// one sweep of expired entries walks at a time.
const maxShards = 64

// Cache maps strings to values for a time. When a shard is full, expired entries
// leave first, then those that were inserted first: a reader of many keys never
// waits for an eviction policy to think.
type Cache[V any] struct {
	seed   maphash.Seed
	shards []*shard[V]
}

// New makes a cache that never holds more than maxEntries entries (at least one).
func New[V any](maxEntries int) *Cache[V] {
	maxEntries = max(maxEntries, 1)
	// Few entries make few shards, lest a small cache be full far below its bound.
	n := min(maxShards, max(1, maxEntries/64))
	c := &Cache[V]{seed: maphash.MakeSeed()}
	for range n {
		c.shards = append(c.shards, newShard[V](maxEntries/n))
	}
	return c
}

// The seed is secret, so that nobody can choose keys for one shard.
func (c *Cache[V]) shard(key string) *shard[V] {
	return c.shards[maphash.String(c.seed, key)%uint64(len(c.shards))]
}

// Get returns the value of a key that has not expired.
func (c *Cache[V]) Get(key string) (v V, ok bool) {
	v, _, ok = c.shard(key).get(key)
	return v, ok
}

// Set stores a value for a time. With ttl <= 0 it removes the key: go-cache would
// keep such an entry for ever.
func (c *Cache[V]) Set(key string, v V, ttl time.Duration) {
	c.Update(key, func(V, bool) (V, time.Duration) { return v, ttl })
}

// Update replaces the value of a key by what change makes of it, with the
// meaning of ttl as in Set. No other change of the key comes in between; change
// must be quick and must not use the cache. A key that is updated keeps its age.
func (c *Cache[V]) Update(key string, change func(old V, ok bool) (v V, ttl time.Duration)) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	old, slot, ok := s.get(key)
	v, ttl := change(old, ok)
	if ttl <= 0 {
		s.items.Delete(key)
		return
	}
	if !ok {
		s.items.Delete(key) // it may have expired
		slot = s.room(key)
	}
	s.items.Set(key, entry[V]{v, slot}, ttl)
}

// Len is the number of entries, expired ones that are still held included.
func (c *Cache[V]) Len() int {
	n := 0
	for _, s := range c.shards {
		n += s.items.ItemCount()
	}
	return n
}

type shard[V any] struct {
	items *gocache.Cache
	max   int

	mu         sync.Mutex // for all that changes the shard; readers need only go-cache's own
	keys       []string   // by slot, in the order of insertion; "" is a slot that is free
	free       []int32    // slots that are free
	oldest     int        // slot of the oldest insertion, once all slots are taken
	untilSweep int        // evictions until expired entries are looked for again
}

// entry is a value and the slot of its key.
type entry[V any] struct {
	value V
	slot  int32
}

func newShard[V any](bound int) *shard[V] {
	s := &shard[V]{items: gocache.New(gocache.NoExpiration, 0), max: bound}
	// Runs within Delete and DeleteExpired, so under mu.
	s.items.OnEvicted(func(_ string, v any) {
		slot := v.(entry[V]).slot
		s.keys[slot] = ""
		s.free = append(s.free, slot)
	})
	return s
}

func (s *shard[V]) get(key string) (v V, slot int32, ok bool) {
	item, ok := s.items.Get(key)
	if !ok {
		return v, 0, false
	}
	e := item.(entry[V])
	return e.value, e.slot, true
}

// room gives a key a slot. It sweeps at most once per quarter of the shard's size,
// which makes the cost of a sweep a small constant per insertion even in a flood.
func (s *shard[V]) room(key string) int32 {
	if len(s.free) == 0 && len(s.keys) < s.max {
		s.keys = append(s.keys, key)
		return int32(len(s.keys) - 1)
	}
	if len(s.free) == 0 {
		if s.untilSweep--; s.untilSweep < 0 {
			s.items.DeleteExpired()
			s.untilSweep = s.max / 4
		}
	}
	if len(s.free) == 0 {
		s.items.Delete(s.keys[s.oldest])
		s.oldest = (s.oldest + 1) % s.max
	}
	slot := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.keys[slot] = key
	return slot
}

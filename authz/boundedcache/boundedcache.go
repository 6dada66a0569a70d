// Package boundedcache is patrickmn/go-cache with bounds on its entries and their bytes,
// and without its janitor, which would hold the lock of the whole cache while it walks it.
package boundedcache

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	gocache "github.com/patrickmn/go-cache"
)

const (
	// maxShards bounds how many locks the cache is spread over. A shard also is what
	// one sweep of expired entries walks at a time.
	maxShards = 64
	// minShard is the least number of bytes of a shard, so that one entry is a small part of it.
	minShard = 256 << 10
	// overhead is what an entry costs beside its key's and value's own bytes: its place in
	// the map, which doubles when it grows, in the list of slots, and the boxed value.
	overhead = 192
)

// Cache maps strings to values for a time. When a shard is full, expired entries
// leave first, then those that were inserted first: a reader of many keys never
// waits for an eviction policy to think.
type Cache[V any] struct {
	seed   maphash.Seed
	size   func(V) int
	shards []*shard[V]
}

// Bounds are what a cache never exceeds.
type Bounds struct {
	Entries int   // at least one
	Bytes   int64 // of keys, values and what the cache needs for them; 0: no bound
}

// New makes a cache. size tells the bytes that a value refers to, beside those of V
// itself; nil: none.
func New[V any](bounds Bounds, size func(V) int) *Cache[V] {
	entries := max(bounds.Entries, 1)
	// Small bounds make few shards, lest the cache be full far below them.
	n := min(maxShards, max(1, entries/64))
	if bounds.Bytes > 0 {
		n = min(n, max(1, int(bounds.Bytes/minShard)))
	}
	if size == nil {
		size = func(V) int { return 0 }
	}
	c := &Cache[V]{seed: maphash.MakeSeed(), size: size}
	for range n {
		c.shards = append(c.shards, newShard[V](entries/n, bounds.Bytes/int64(n)))
	}
	return c
}

// The seed is secret, so that nobody can choose keys for one shard.
func (c *Cache[V]) shard(key string) *shard[V] {
	return c.shards[maphash.String(c.seed, key)%uint64(len(c.shards))]
}

// Get returns the value of a key that has not expired.
func (c *Cache[V]) Get(key string) (v V, ok bool) {
	e, ok := c.shard(key).get(key)
	return e.value, ok
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
	old, ok := s.get(key)
	v, ttl := change(old.value, ok)
	e := entry[V]{value: v, slot: old.slot, size: int64(len(key) + c.size(v) + overhead)}
	if ttl <= 0 || s.maxBytes > 0 && e.size > s.maxBytes {
		s.items.Delete(key)
		return
	}
	if !ok {
		s.items.Delete(key) // it may have expired
		e.slot = s.room(key)
	}
	s.bytes.Add(e.size - old.size)
	s.items.Set(key, e, ttl)
	for s.maxBytes > 0 && s.bytes.Load() > s.maxBytes {
		s.evict(e.slot)
	}
}

// Sweep frees the entries that have expired, a shard at a time.
func (c *Cache[V]) Sweep() {
	for _, s := range c.shards {
		s.mu.Lock()
		s.items.DeleteExpired()
		s.mu.Unlock()
	}
}

// Bytes is what the entries take, expired ones that are still held included.
func (c *Cache[V]) Bytes() int64 {
	n := int64(0)
	for _, s := range c.shards {
		n += s.bytes.Load()
	}
	return n
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
	items    *gocache.Cache
	max      int
	maxBytes int64 // 0: no bound
	bytes    atomic.Int64

	mu         sync.Mutex // for all that changes the shard; readers need only go-cache's own
	keys       []string   // by slot, in the order of insertion; "" is a slot that is free
	free       []int32    // slots that are free
	oldest     int        // where to look for the oldest insertion
	untilSweep int        // evictions until expired entries are looked for again
}

// entry is a value, the slot of its key, and what it takes.
type entry[V any] struct {
	value V
	slot  int32
	size  int64
}

func newShard[V any](bound int, maxBytes int64) *shard[V] {
	s := &shard[V]{items: gocache.New(gocache.NoExpiration, 0), max: bound, maxBytes: maxBytes}
	// Runs within Delete and DeleteExpired, so under mu.
	s.items.OnEvicted(func(_ string, v any) {
		e := v.(entry[V])
		s.bytes.Add(-e.size)
		s.keys[e.slot] = ""
		s.free = append(s.free, e.slot)
	})
	return s
}

// get returns the zero entry for a key that is not there, or has expired.
func (s *shard[V]) get(key string) (e entry[V], ok bool) {
	item, ok := s.items.Get(key)
	if !ok {
		return e, false
	}
	return item.(entry[V]), true
}

// room gives a key a slot.
func (s *shard[V]) room(key string) int32 {
	if len(s.free) == 0 && len(s.keys) < s.max {
		s.keys = append(s.keys, key)
		return int32(len(s.keys) - 1)
	}
	for len(s.free) == 0 {
		s.evict(-1)
	}
	slot := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.keys[slot] = key
	return slot
}

// evict removes what has expired, or else the oldest entry but the one of slot keep. It
// sweeps at most once per quarter of the shard's entries, which makes the cost of a sweep
// a small constant per insertion even in a flood.
func (s *shard[V]) evict(keep int32) {
	if s.untilSweep--; s.untilSweep < 0 {
		held := len(s.free)
		s.items.DeleteExpired()
		s.untilSweep = len(s.keys) / 4
		if len(s.free) > held {
			return
		}
	}
	for s.keys[s.oldest] == "" || int32(s.oldest) == keep {
		s.oldest = (s.oldest + 1) % len(s.keys)
	}
	s.items.Delete(s.keys[s.oldest])
	s.oldest = (s.oldest + 1) % len(s.keys)
}

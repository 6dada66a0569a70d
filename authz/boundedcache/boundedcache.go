// Package boundedcache is patrickmn/go-cache with a bound on its number of
// entries, and without its janitor, which would hold the lock of the whole cache
// while it walks it.
package boundedcache

import (
	"container/list"
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
	return c.shard(key).get(key)
}

// Set stores a value for a time. With ttl <= 0 it removes the key: go-cache would
// keep such an entry for ever.
func (c *Cache[V]) Set(key string, v V, ttl time.Duration) {
	c.Update(key, func(V, bool) (V, time.Duration) { return v, ttl })
}

// Update replaces the value of a key by what change makes of it, with the
// meaning of ttl as in Set. No other change of the key comes in between; change
// must be quick and must not use the cache.
func (c *Cache[V]) Update(key string, change func(old V, ok bool) (v V, ttl time.Duration)) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ttl := change(s.get(key))
	s.items.Delete(key)
	if ttl <= 0 {
		return
	}
	s.makeRoom()
	s.items.Set(key, entry[V]{v, s.order.PushBack(key)}, ttl)
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
	order      *list.List // keys, oldest insertion first
	untilSweep int        // evictions until expired entries are looked for again
}

type entry[V any] struct {
	value V
	place *list.Element
}

func newShard[V any](bound int) *shard[V] {
	s := &shard[V]{items: gocache.New(gocache.NoExpiration, 0), max: bound, order: list.New()}
	// Runs within Delete and DeleteExpired, so under mu.
	s.items.OnEvicted(func(_ string, v any) { s.order.Remove(v.(entry[V]).place) })
	return s
}

func (s *shard[V]) get(key string) (v V, ok bool) {
	item, ok := s.items.Get(key)
	if !ok {
		return v, false
	}
	return item.(entry[V]).value, true
}

// makeRoom sweeps at most once per quarter of the shard's size, which makes the
// cost of a sweep a small constant per insertion even in a flood.
func (s *shard[V]) makeRoom() {
	if s.order.Len() < s.max {
		return
	}
	if s.untilSweep--; s.untilSweep < 0 {
		s.items.DeleteExpired()
		s.untilSweep = s.max / 4
	}
	for s.order.Len() >= s.max {
		s.items.Delete(s.order.Front().Value.(string))
	}
}

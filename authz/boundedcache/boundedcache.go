// Package boundedcache is a cache with a bound on its number of entries.
package boundedcache

import "time"

// Cache maps strings to values for a time.
type Cache[V any] struct{}

// New makes a cache for about maxEntries entries.
func New[V any](maxEntries int) *Cache[V] { return &Cache[V]{} }

// Get returns the value of a key that has not expired.
func (c *Cache[V]) Get(key string) (v V, ok bool) { return v, false }

// Set stores a value for a time. With ttl <= 0 it removes the key.
func (c *Cache[V]) Set(key string, v V, ttl time.Duration) {}

// Len is the number of entries, expired ones that are still held included.
func (c *Cache[V]) Len() int { return 0 }

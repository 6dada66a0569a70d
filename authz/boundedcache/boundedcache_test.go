package boundedcache_test

import (
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scopeward/authz/boundedcache"
)

func TestEntryExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := boundedcache.New[int](10)
		c.Set("a", 1, time.Minute)
		time.Sleep(time.Minute - time.Nanosecond)
		if v, ok := c.Get("a"); !ok || v != 1 {
			t.Errorf("just before its end: got %v, %v", v, ok)
		}
		time.Sleep(2 * time.Nanosecond)
		if _, ok := c.Get("a"); ok {
			t.Error("the entry outlived its time")
		}
	})
}

func TestNoTimeIsNeverForEver(t *testing.T) {
	for _, ttl := range []time.Duration{0, -1, -time.Hour} {
		c := boundedcache.New[int](10)
		c.Set("a", 1, time.Hour)
		c.Set("a", 2, ttl)
		if v, ok := c.Get("a"); ok {
			t.Errorf("ttl %v: got %v, want nothing", ttl, v)
		}
		if n := c.Len(); n != 0 {
			t.Errorf("ttl %v: %d entries are left", ttl, n)
		}
	}
}

func TestNeverHoldsMoreThanItsBound(t *testing.T) {
	for _, bound := range []int{-1, 0, 1, 2, 63, 64, 1000, 10_000} {
		c := boundedcache.New[int](bound)
		for i := range 3*bound + 10 {
			c.Set(strconv.Itoa(i), i, time.Hour)
			c.Set(strconv.Itoa(i), i, time.Hour) // replacing takes no room
		}
		if got := c.Len(); got > max(bound, 1) || got < bound*9/10 {
			t.Errorf("bound %d: holds %d", bound, got)
		}
	}
}

func TestOldestInsertionLeavesFirst(t *testing.T) {
	c := boundedcache.New[int](3)
	for _, key := range []string{"a", "b", "c", "d"} {
		c.Set(key, 1, time.Hour)
	}
	if _, ok := c.Get("a"); ok {
		t.Error("a was inserted first and should have left")
	}
	for _, key := range []string{"b", "c", "d"} {
		if _, ok := c.Get(key); !ok {
			t.Errorf("%s is gone", key)
		}
	}
}

func TestExpiredLeaveBeforeTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := boundedcache.New[int](3)
		c.Set("old", 1, time.Hour)
		c.Set("short", 1, time.Second)
		c.Set("new", 1, time.Hour)
		time.Sleep(time.Minute)
		c.Set("newer", 1, time.Hour)
		for _, key := range []string{"old", "new", "newer"} {
			if _, ok := c.Get(key); !ok {
				t.Errorf("%s had to leave for an expired entry", key)
			}
		}
	})
}

func TestUpdateIsAtomic(t *testing.T) {
	c := boundedcache.New[int](10)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				c.Update("n", func(n int, _ bool) (int, time.Duration) { return n + 1, time.Hour })
			}
		})
	}
	wg.Wait()
	if n, _ := c.Get("n"); n != 8000 {
		t.Errorf("got %d, want 8000", n)
	}
}

func BenchmarkFlood(b *testing.B) {
	c := boundedcache.New[int](100_000)
	for i := 0; b.Loop(); i++ {
		c.Set(strconv.Itoa(i), i, time.Second)
	}
}

func BenchmarkGet(b *testing.B) {
	c := boundedcache.New[int](100_000)
	c.Set("a", 1, time.Hour)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Get("a")
		}
	})
}

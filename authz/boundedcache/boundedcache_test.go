package boundedcache_test

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scopeward/authz/boundedcache"
)

func TestEntryExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := boundedcache.New[int](boundedcache.Bounds{Entries: 10}, nil)
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
		c := boundedcache.New[int](boundedcache.Bounds{Entries: 10}, nil)
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
		c := boundedcache.New[int](boundedcache.Bounds{Entries: bound}, nil)
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
	c := boundedcache.New[int](boundedcache.Bounds{Entries: 3}, nil)
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
		c := boundedcache.New[int](boundedcache.Bounds{Entries: 3}, nil)
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

// TestNeverHoldsMoreBytes: values of any sizes, also such as grow, stay within the bound,
// and one that alone would exceed it is not held.
func TestNeverHoldsMoreBytes(t *testing.T) {
	for _, bound := range []int64{1, 1000, 100_000, 1 << 20, 8 << 20} {
		c := boundedcache.New(boundedcache.Bounds{Entries: 100_000, Bytes: bound}, func(n int) int { return n })
		random := rand.New(rand.NewPCG(1, 2))
		for i := range 50_000 {
			c.Set(strconv.Itoa(i), random.IntN(8000), time.Hour)
			c.Set(strconv.Itoa(random.IntN(i+1)), random.IntN(8000), time.Hour)
			if i%1000 == 0 {
				c.Set("huge", 9<<20, time.Hour)
			}
			if got := c.Bytes(); got > bound {
				t.Fatalf("bound %d: holds %d after %d", bound, got, i)
			}
		}
		if got := c.Bytes(); bound >= 100_000 && got < bound*8/10 {
			t.Errorf("bound %d: holds %d only", bound, got)
		}
		if _, ok := c.Get("huge"); ok {
			t.Errorf("bound %d: holds what is larger", bound)
		}
		for i := range 50_000 {
			c.Set(strconv.Itoa(i), 0, 0)
		}
		if n, bytes := c.Len(), c.Bytes(); n != 0 || bytes != 0 {
			t.Errorf("bound %d: empty, it holds %d entries of %d bytes", bound, n, bytes)
		}
	}
}

// TestSweepFreesWhatExpired: nobody has to insert anything for it.
func TestSweepFreesWhatExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := boundedcache.New[int](boundedcache.Bounds{Entries: 1000}, nil)
		for i := range 500 {
			c.Set(strconv.Itoa(i), i, time.Minute)
		}
		c.Set("stays", 1, time.Hour)
		time.Sleep(2 * time.Minute)
		c.Sweep()
		if n := c.Len(); n != 1 {
			t.Errorf("%d entries are left", n)
		}
		if _, ok := c.Get("stays"); !ok {
			t.Error("an entry left before its time")
		}
	})
}

func TestUpdateIsAtomic(t *testing.T) {
	c := boundedcache.New[int](boundedcache.Bounds{Entries: 10}, nil)
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
	c := boundedcache.New[int](boundedcache.Bounds{Entries: 100_000}, nil)
	for i := 0; b.Loop(); i++ {
		c.Set(strconv.Itoa(i), i, time.Second)
	}
}

func BenchmarkGet(b *testing.B) {
	c := boundedcache.New[int](boundedcache.Bounds{Entries: 100_000}, nil)
	c.Set("a", 1, time.Hour)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Get("a")
		}
	})
}

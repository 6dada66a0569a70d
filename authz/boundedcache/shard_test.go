package boundedcache

import (
	"strconv"
	"testing"
	"time"
)

// Keys that all are in one shard of one process, as whoever knew its seed could find them,
// are spread in another: nobody who does not know a seed can fill one shard of it.
func TestShardsCannotBeChosen(t *testing.T) {
	const bound = maxShards * 100
	known, other := New[int](Bounds{Entries: bound}, nil), New[int](Bounds{Entries: bound}, nil)
	keys := 0
	for i := 0; keys < bound/2 && i < 1_000_000; i++ {
		key := strconv.Itoa(i)
		if known.shard(key) != known.shards[0] {
			continue
		}
		keys++
		known.Set(key, i, time.Hour)
		other.Set(key, i, time.Hour)
	}
	if n := known.Len(); n != 100 {
		t.Fatalf("the keys are no attack: %d are held", n)
	}
	if n := other.Len(); n < keys*9/10 {
		t.Errorf("only %d of %d keys found room", n, keys)
	}
}

package token_test

import (
	"context"
	"runtime"
	"strconv"
	"testing"
	"time"

	"scopeward/authz/token"
)

// A flood of distinct garbage leaves memory bounded: with 10,000 entries, well
// below 16 MiB, however long it lasts.
func TestFloodLeavesMemoryBounded(t *testing.T) {
	v := &verifier{answer: func(context.Context, string) (*token.Identity, error) {
		return nil, token.Invalidf("garbage")
	}}
	opts := opaque(v)
	opts.Cache = token.NewCache(10_000, 0)
	validator := token.NewValidator(opts)
	before := heap()
	for i := range 40_000 {
		if _, err := validator.Validate(t.Context(), "garbage"+strconv.Itoa(i), nil); err == nil {
			t.Fatal("garbage is valid")
		}
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
	runtime.KeepAlive(validator)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkFlood(b *testing.B) {
	v := answering(nil, token.Invalidf("garbage"))
	opts := opaque(v)
	opts.NegativeTTL = time.Hour
	validator := token.NewValidator(opts)
	before := heap()
	i := 0
	for b.Loop() {
		_, _ = validator.Validate(b.Context(), "garbage"+strconv.Itoa(i), nil)
		i++
	}
	b.ReportMetric(float64(heap()-before)/(1<<20), "MiB")
	runtime.KeepAlive(validator)
}

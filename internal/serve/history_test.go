package serve

import (
	"math"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// TestHistory: steps hold what came in each, and those of more than a quarter of an hour ago leave.
func TestHistory(t *testing.T) {
	bucket := func(bound float64, count uint64) *dto.Bucket {
		return &dto.Bucket{UpperBound: &bound, CumulativeCount: &count}
	}
	var h history
	h.add(time.Unix(10, 0), counts{10, 5, []*dto.Bucket{bucket(0.001, 15), bucket(0.010, 15)}})
	h.add(time.Unix(20, 0), counts{110, 5, []*dto.Bucket{bucket(0.001, 65), bucket(0.010, 115)}})
	h.add(time.Unix(30, 0), counts{110, 5, []*dto.Bucket{bucket(0.001, 65), bucket(0.010, 115)}})
	got := h.shown()
	if len(got) != 3 || got[0].Allowed != 10 || got[0].Denied != 5 || got[1].Allowed != 100 || got[1].Denied != 0 || got[2].Allowed != 0 || got[2].P99 != 0 {
		t.Fatalf("%+v", got)
	}
	if p50, p99 := got[1].P50, got[1].P99; p50 != 1 || math.Abs(p99-9.82) > 0.01 {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
	for i := range 2 * historySteps {
		h.add(time.Unix(int64(i), 0), counts{})
	}
	if n := len(h.shown()); n != historySteps {
		t.Errorf("%d steps", n)
	}
}

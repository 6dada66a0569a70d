package pace

import (
	"math"
	"testing"
)

func TestPace(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		name        string
		live, limit int64
		want        int
	}{
		{"an empty cache collects seldom", 4 * mib, math.MaxInt64, maxGOGC},
		{"as much garbage as there is room for", 80 * mib, math.MaxInt64, 100},
		{"a large cache stays near its size", 800 * mib, math.MaxInt64, minGOGC},
		{"a small container has less room", 16 * mib, 58 * mib, 131},
		{"a full one collects all the time", 58 * mib, 58 * mib, minGOGC},
		{"nothing is known yet", 0, math.MaxInt64, maxGOGC},
	} {
		if got := gcPercent(test.live, test.limit); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

package pace

import (
	"slices"
	"testing"
	"time"
)

func TestProcessors(t *testing.T) {
	var got []int
	p := NewProcessors(4, func(n int) { got = append(got, n) })
	use := func(cores float64, seconds int) {
		for range 10 * seconds {
			p.used(cores, 100*time.Millisecond)
		}
	}
	want := func(step string, n ...int) {
		t.Helper()
		if !slices.Equal(got, n) {
			t.Fatalf("%s: GOMAXPROCS was set to %v, want %v", step, got, n)
		}
		got = nil
	}
	use(0.3, 2)
	want("calm, but not for long")
	use(1.6, 1)
	use(0.3, 2)
	want("a burst begins the wait anew")
	use(0.3, 8)
	want("calm", 3, 2, 1)
	use(0.6, 10)
	want("one is enough")
	use(0.8, 1)
	want("crowded: all at once", 4)
	use(1.2, 20)
	want("as few as leave half of one fewer idle", 3)
	use(0, 10)
	want("idle", 2, 1)

	first, second := p.All(), p.All()
	want("long work", 4)
	use(0, 10)
	first()
	use(0, 10)
	want("all while there is long work")
	second()
	use(0, 4)
	want("afterwards", 3)
}

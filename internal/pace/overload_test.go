package pace

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestOverload: a queue that stands for a second is shed from, more and more; a burst is
// not, nor who waits on a machine that is busy with other things; and it ends.
func TestOverload(t *testing.T) {
	var o overload
	run := func(what string, waiting int, wait time.Duration, ticks int, least, most float64) {
		t.Helper()
		var share float64
		for range ticks {
			share = o.next(waiting, wait, overloadTick)
		}
		if share < least || share > most {
			t.Errorf("%s: the share is %v, want %v to %v", what, share, least, most)
		}
	}
	run("calm", 2, time.Microsecond, 100, 0, 0)
	run("a burst", 1000, time.Second, 9, 0, 0)
	run("after the burst", 2, time.Microsecond, 1, 0, 0)
	run("another machine's load", 10, time.Second, 100, 0, 0)
	run("many, that are quick", 1000, time.Millisecond, 100, 0, 0)
	run("a standing queue", 1000, time.Second, 12, 0.25, 0.35)
	run("that goes on", 1000, time.Second, 20, 1, 1)
	run("calm again", 2, time.Microsecond, 10, 0.45, 0.55)
	run("for long", 2, time.Microsecond, 20, 0, 0)
}

// TestQueue: the scheduler tells of goroutines that wait.
func TestQueue(t *testing.T) {
	var q queue
	q.read()
	var stop atomic.Bool
	var work sync.WaitGroup
	defer work.Wait()
	defer stop.Store(true)
	for range 200 * runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for !stop.Load() {
				busy := time.Now()
				for time.Since(busy) < 500*time.Microsecond {
				}
				runtime.Gosched()
			}
		})
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		waiting, wait := q.read()
		if waiting > 100 && wait > late {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait, a tenth for %v", waiting, wait)
		}
	}
}

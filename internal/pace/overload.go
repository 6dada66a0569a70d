package pace

import (
	"context"
	"runtime/metrics"
	"time"
)

// Beyond capacity, requests wait for a processor, and each one longer than the one before:
// all get their answer too late. So the service measures the queue itself, and answers some
// at once with 503 while it stands: first those whose token would have to be validated,
// which cost most; then any.
const (
	overloadTick = 100 * time.Millisecond
	// standing is how much longer the queue must stand than not, to be more than a burst.
	standing = time.Second
	// queued is how many goroutines per processor make a queue.
	queued = 50
	// late is how long a tenth of them wait at least, and it is too long. (Most goroutines
	// are woken by another that hands them its processor, and don't wait at all.)
	late = 25 * time.Millisecond
	// more and less are by how much the share that is shed changes in a tick.
	more, less = 0.1, 0.05
)

// overload finds out what share of the requests is to be shed. Its zero value is that of a
// process that has time.
type overload struct {
	since time.Duration // for how long the queue has stood
	share float64       // 0 to 1
}

// next takes note of how many goroutines wait for each processor, and how long the
// slowest tenth have waited, in a while.
func (o *overload) next(waiting int, wait, during time.Duration) (share float64) {
	if waiting < queued || wait < late {
		o.since, o.share = max(0, o.since-during), max(0, o.share-less)
		return o.share
	}
	if o.since = min(o.since+during, standing); o.since >= standing {
		o.share = min(1, o.share+more)
	}
	return o.share
}

// WatchOverload tells shed the share until ctx ends.
func WatchOverload(ctx context.Context, procs func() int, shed func(share float64)) {
	tick := time.NewTicker(overloadTick)
	defer tick.Stop()
	var o overload
	var q queue
	q.read()
	for at := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		waiting, wait := q.read()
		now := time.Now()
		shed(o.next(waiting/procs(), wait, now.Sub(at)))
		at = now
	}
}

// queue is the scheduler's, as runtime/metrics tells it.
type queue struct {
	samples [2]metrics.Sample
	before  []uint64 // counts of the histogram at the last reading
}

// read gives how many goroutines wait now, and how long the slowest tenth of those that
// ran since the last reading had waited.
func (q *queue) read() (waiting int, wait time.Duration) {
	q.samples[0].Name, q.samples[1].Name = "/sched/goroutines/runnable:goroutines", "/sched/latencies:seconds"
	metrics.Read(q.samples[:])
	if q.samples[0].Value.Kind() != metrics.KindUint64 || q.samples[1].Value.Kind() != metrics.KindFloat64Histogram {
		return 0, 0 // another version of Go: nothing is shed
	}
	h := q.samples[1].Value.Float64Histogram()
	if q.before == nil {
		q.before = make([]uint64, len(h.Counts))
	}
	var total uint64
	for i, n := range h.Counts {
		total += n - q.before[i]
	}
	var seen uint64
	for i, n := range h.Counts {
		if seen*10 < total*9 { // the slowest tenth begins in this bucket, or in one that follows
			seen += n - q.before[i]
			wait = time.Duration(max(0, h.Buckets[i]) * float64(time.Second)) // the first begins at minus infinity
		}
		q.before[i] = n
	}
	return int(q.samples[0].Value.Uint64()), wait
}

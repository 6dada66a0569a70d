// Package pace keeps the process in step with the machine: the pace of the collector, the
// number of processors, and what share of the requests it can take.
package pace

import (
	"context"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// garbageRoom is how much garbage may gather before it is collected. Go's
	// default is as much as there is live memory, of which a service with a small
	// cache has so little that it collects all the time.
	garbageRoom = 80 << 20
	minGOGC     = 20
	maxGOGC     = 1000
)

// TuneGC sets the collector's pace until ctx ends: by the live memory, so that
// collections are rare while the cache is small and memory stays bounded while it
// is large. GOGC and GOMEMLIMIT, where they are set, are the operator's word. The
// limit of a container (cgroup) becomes the memory limit, less a tenth.
func TuneGC(ctx context.Context, log *slog.Logger) {
	if _, set := os.LookupEnv("GOMEMLIMIT"); !set {
		if _, err := memlimit.Set(memlimit.WithRatio(0.9), memlimit.WithProvider(memlimit.FromCgroup)); err != nil {
			log.Debug("no memory limit was found", slog.Any("error", err))
		}
	}
	if _, set := os.LookupEnv("GOGC"); set {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for current := 0; ; {
		if next := gcPercent(liveMemory(), debug.SetMemoryLimit(-1)); next != current {
			debug.SetGCPercent(next)
			current = next
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// gcPercent is the GOGC at which garbageRoom gathers beside so much live memory; under
// a memory limit at most a half of what the limit leaves.
func gcPercent(live, limit int64) int {
	room := int64(garbageRoom)
	if limit < math.MaxInt64 {
		room = min(room, max(0, limit-live)/2)
	}
	return int(min(max(100*room/max(live, 1<<20), minGOGC), maxGOGC))
}

// MemoryLimit is what the process may use: GOMEMLIMIT, or the limit of the container less a
// tenth, or half the memory of the machine.
func MemoryLimit() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return limit
	}
	if limit, err := memlimit.FromCgroup(); err == nil && limit < math.MaxInt64 {
		return int64(limit) / 10 * 9
	}
	if limit, err := memlimit.FromSystem(); err == nil && limit < math.MaxInt64 {
		return int64(limit) / 2
	}
	return math.MaxInt64
}

func liveMemory() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(sample[0].Value.Uint64())
}

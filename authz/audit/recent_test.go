package audit

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestNobodyWatches: then nothing is kept, and an event costs no memory.
func TestNobodyWatches(t *testing.T) {
	var r Recent
	e := Event{Path: "/users"}
	if n := testing.AllocsPerRun(100, func() { r.Add(&e) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	stop := r.Watch()
	defer stop()
	if b := r.Since(0, Filter{}); len(b.Events) > 0 {
		t.Errorf("%d events from before", len(b.Events))
	}
}

// TestLingers: who comes back in time finds what came meanwhile; later, a gap.
func TestLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Recent
		stop := r.Watch()
		r.Add(&Event{Path: "/a"})
		last := r.Since(0, Filter{}).Last
		stop()
		stop() // a second time is nothing
		time.Sleep(lingers - time.Second)
		r.Add(&Event{Path: "/b"})
		stop = r.Watch()
		if b := r.Since(last, Filter{}); len(b.Events) != 1 || b.Gap || b.Missed != 0 {
			t.Errorf("in time: %+v", b)
		}
		stop()
		time.Sleep(lingers + time.Second)
		r.Add(&Event{Path: "/c"})
		stop = r.Watch()
		defer stop()
		if b := r.Since(last, Filter{}); len(b.Events) != 0 || !b.Gap {
			t.Errorf("too late: %+v", b)
		}
	})
}

// TestManyAtATime: each event comes once, in order, or is counted as missed.
func TestManyAtATime(t *testing.T) {
	var r Recent
	defer r.Watch()()
	const writers, each = 8, 2000
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				r.Add(&Event{Path: "/", Code: "allow"})
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	var seen, missed, last uint64
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		b := r.Since(last, Filter{})
		for _, e := range b.Events {
			if e.Number <= last {
				t.Fatalf("event %d after %d", e.Number, last)
			}
			last = e.Number
		}
		seen, missed, last = seen+uint64(len(b.Events)), missed+b.Missed, b.Last
	}
	// What was overwritten before the first look is not missed: nobody had asked.
	if seen+missed > writers*each || seen < recent {
		t.Errorf("%d seen and %d missed of %d", seen, missed, writers*each)
	}
}

func TestKeptIsBoundedAndShared(t *testing.T) {
	var r Recent
	defer r.Watch()()
	path := []byte("/" + strings.Repeat("é", 40_000))
	r.Add(&Event{Path: string(path), Reason: "\"\n<script>"})
	r.Add(&Event{Path: "/next"})
	b := r.Since(0, Filter{})
	if len(b.Events) != 2 {
		t.Fatalf("%d events", len(b.Events))
	}
	if json := b.Events[0].JSON; len(json) > 3*longest || !strings.Contains(json, "…") || strings.Contains(json, "\n") {
		t.Errorf("%d bytes are kept: %.200s", len(json), json)
	}
	for range recent {
		r.Add(&Event{Path: "/more"})
	}
	if b := r.Since(b.Last, Filter{}); len(b.Events) != recent || b.Missed != 0 {
		t.Errorf("%d events, %d missed", len(b.Events), b.Missed)
	}
	r.Add(&Event{Path: "/more"})
	if b := r.Since(b.Last, Filter{}); len(b.Events) != recent || b.Missed != 1 {
		t.Errorf("%d events, %d missed", len(b.Events), b.Missed)
	}
}

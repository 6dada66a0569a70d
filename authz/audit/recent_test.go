package audit

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeepingCostsNothing: an event is kept before anybody looks, and costs no memory.
func TestKeepingCostsNothing(t *testing.T) {
	r := NewRecent()
	e := Event{Path: "/users", Code: "allow", Scopes: []string{"read:users", "write:users"}, Timestamp: time.Unix(1, 0).UTC()}
	for range recent { // each place grows once
		r.Add(&e)
	}
	if n := testing.AllocsPerRun(1000, func() { r.Add(&e) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	b := r.Since(0, Filter{})
	if len(b.Events) != recent || b.Gap || b.Missed != 0 {
		t.Fatalf("%d events, gap %v, %d missed", len(b.Events), b.Gap, b.Missed)
	}
	if want := strings.TrimSpace(string(e.Append(nil))); b.Events[0].JSON != want {
		t.Errorf("kept\n%s\nwant\n%s", b.Events[0].JSON, want)
	}
}

// TestEveryTextIsKept, so that none of a later field is forgotten.
func TestEveryTextIsKept(t *testing.T) {
	r, e := NewRecent(), Event{Success: true, DurationMS: 1.5, Timestamp: time.Unix(1, 0).UTC(), Scopes: []string{"a", "b"}}
	for fields, i := reflect.ValueOf(&e).Elem(), 0; i < fields.NumField(); i++ {
		if f := fields.Field(i); f.Kind() == reflect.String {
			f.SetString(fmt.Sprint("text ", i))
		}
	}
	r.Add(&e)
	if got, want := r.Since(0, Filter{}).Events[0].JSON, strings.TrimSpace(string(e.Append(nil))); got != want {
		t.Errorf("kept\n%s\nwant\n%s", got, want)
	}
}

// TestRestarted: whoever has seen the events of another process is told of the gap.
func TestRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := NewRecent()
		before.Add(&Event{Path: "/a"})
		last := before.Since(0, Filter{}).Last
		time.Sleep(time.Second)
		r := NewRecent()
		r.Add(&Event{Path: "/c"})
		if b := r.Since(last, Filter{}); len(b.Events) != 1 || !b.Gap {
			t.Errorf("%+v", b)
		}
	})
}

// TestManyAtATime: each event comes once, in order, or is counted as missed.
func TestManyAtATime(t *testing.T) {
	r := NewRecent()
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
	r := NewRecent()
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

// TestHeldIsBounded: whatever a token and a request hold, an event keeps little.
func TestHeldIsBounded(t *testing.T) {
	r, long := NewRecent(), strings.Repeat("x", 3000)
	var scopes []string
	for range 5000 {
		scopes = append(scopes, "scope")
	}
	r.Add(&Event{Path: long, Host: long, UserID: long, Reason: long, RequestID: long, Action: long, Scopes: scopes})
	if p := &r.ring[r.newest.Load()%recent]; len(p.held) > maxHeld+20*len("…") || len(p.ends) > maxHeld {
		t.Errorf("%d bytes are held, of %d texts", len(p.held), len(p.ends))
	}
	if e := r.Since(0, Filter{}).Events; len(e) != 1 || !strings.Contains(e[0].JSON, "…") {
		t.Errorf("%v", e)
	}
}

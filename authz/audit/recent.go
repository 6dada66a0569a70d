package audit

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// recent is how many events are kept for those who watch.
	recent = 512
	// lingers is for how long they are still kept when nobody watches any more: who
	// comes back sees what came meanwhile.
	lingers = 10 * time.Minute
	// longest is how many bytes of a text are kept; a path can have 64 KiB.
	longest = 1 << 10
)

// Recent keeps the latest events while somebody watches. While nobody does, an event
// costs one atomic load. Its zero value is ready, and nobody watches.
type Recent struct {
	on     atomic.Bool
	newest atomic.Uint64 // the number of the newest event; in a slot of the ring once it is written
	begin  atomic.Uint64 // after which number all events were kept
	ring   [recent]atomic.Pointer[Numbered]

	mu       sync.Mutex
	watchers int
	leaving  *time.Timer // set while nobody watches, but did
}

// Numbered is an event that was kept.
type Numbered struct {
	Number uint64
	JSON   string // one line, as Append writes it; long texts are cut

	code, rule, text string
}

// Watched tells whether events are kept.
func (r *Recent) Watched() bool { return r.on.Load() }

// Add keeps an event, if anybody watches. It shares no memory with it.
func (r *Recent) Add(e *Event) {
	if !r.Watched() {
		return
	}
	kept := *e
	for _, text := range []*string{&kept.Action, &kept.UserID, &kept.Method, &kept.Host, &kept.Path, &kept.ClientIP, &kept.Peer, &kept.RequestID, &kept.Reason} {
		if len(*text) > longest {
			*text = (*text)[:longest] + "…"
		}
	}
	n := &Numbered{
		JSON: strings.TrimSuffix(string(kept.Append(nil)), "\n"),
		code: kept.Code, rule: strings.Clone(kept.Rule),
		text: strings.ToLower(strings.Join(append([]string{kept.Action, kept.UserID, kept.Code, kept.Method + " " + kept.Host + kept.Path,
			kept.ClientIP, kept.Peer, kept.RequestID, kept.Provider, kept.Reason}, kept.Scopes...), "\n")),
	}
	n.Number = r.newest.Add(1)
	for slot := &r.ring[n.Number%recent]; ; {
		old := slot.Load()
		if old != nil && old.Number > n.Number || slot.CompareAndSwap(old, n) { // a round later, or done
			return
		}
	}
}

// Watch has events kept until stop is called, and a while longer.
func (r *Recent) Watch() (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers++
	if r.leaving != nil {
		r.leaving.Stop()
		r.leaving = nil
	}
	if !r.on.Load() {
		// Numbers grow over restarts of the process, too: who comes back with one of
		// before is not taken for up to date.
		begin := max(r.newest.Load(), uint64(time.Now().UnixMicro()))
		r.newest.Store(begin)
		r.begin.Store(begin)
		r.on.Store(true)
	}
	return sync.OnceFunc(r.leave)
}

func (r *Recent) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watchers--; r.watchers > 0 {
		return
	}
	r.leaving = time.AfterFunc(lingers, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.watchers > 0 {
			return
		}
		r.on.Store(false)
		for i := range r.ring {
			r.ring[i].Store(nil)
		}
	})
}

// Batch is what has come since an event.
type Batch struct {
	Events []*Numbered // the oldest first
	Last   uint64      // the number to go on from
	Missed uint64      // events that were no longer kept, of any kind
	Gap    bool        // nobody watched for a while: how many were missed is not known
}

// Since gives the events after a number that the filter takes; after 0, all that are kept.
// Who calls it watches.
func (r *Recent) Since(after uint64, f Filter) (b Batch) {
	begin, newest := r.begin.Load(), r.newest.Load()
	b.Gap = after != 0 && after < begin
	oldest := begin + 1
	if newest > begin+recent {
		oldest = newest - recent + 1
	}
	number := max(after+1, oldest)
	if after >= begin {
		b.Missed = number - after - 1
	}
	for ; number <= newest; number++ {
		switch n := r.ring[number%recent].Load(); {
		case n == nil || n.Number < number: // it is being written
			b.Last = number - 1
			return b
		case n.Number > number:
			b.Missed++
		case f.takes(n):
			b.Events = append(b.Events, n)
		}
	}
	b.Last = number - 1
	return b
}

// The kinds of events that a Filter knows besides codes and places of rules.
const (
	Denied = "denied" // as Code: all but allow
	NoRule = "none"   // as Rule: no rule matched
)

// Filter takes some events; the zero value takes all.
type Filter struct {
	Code string // of the answer, or Denied
	Rule string // its place, or NoRule
	Text string // part of any text of the event, in upper or lower case
}

func (f Filter) takes(n *Numbered) bool {
	switch {
	case f.Code == Denied && n.code == "allow", f.Code != "" && f.Code != Denied && f.Code != n.code:
		return false
	case f.Rule == NoRule && n.rule != "", f.Rule != "" && f.Rule != NoRule && f.Rule != n.rule:
		return false
	}
	return strings.Contains(n.text, strings.ToLower(f.Text))
}

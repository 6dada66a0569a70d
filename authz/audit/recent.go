package audit

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

const (
	// recent is how many events are kept for those who look.
	recent = 512
	// longest is how many bytes of a text are kept, a path can have 64 KiB; maxHeld of all
	// texts of an event.
	longest = 1 << 10
	maxHeld = 2 << 10
)

// Recent keeps the latest events. To keep one costs a copy of its texts and no memory, as
// each place is used again; an event is encoded when somebody looks at it.
type Recent struct {
	begin  uint64        // numbers begin after it
	newest atomic.Uint64 // the number of the newest event; in its place of the ring once it is kept
	ring   [recent]place
}

// NewRecent keeps none yet. Numbers grow over restarts of the process, too: whoever comes
// back with one of before is not taken for up to date.
func NewRecent() *Recent {
	r := &Recent{begin: uint64(time.Now().UnixMicro())}
	r.newest.Store(r.begin)
	return r
}

// place is one of the ring's.
type place struct {
	mu     sync.Mutex
	number uint64
	at     time.Time
	passed bool
	tookMS float64
	held   []byte // the texts, each up to its end
	ends   []int
	shown  *Numbered // once somebody has looked
}

// Numbered is an event that was kept.
type Numbered struct {
	Number uint64
	JSON   string // one line, as Append writes it; long texts are cut

	code, rule, text string
}

// Add keeps an event. It shares no memory with it.
func (r *Recent) Add(e *Event) {
	n := r.newest.Add(1)
	p := &r.ring[n%recent]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.number > n { // a round later already
		return
	}
	p.number, p.shown = n, nil
	p.at, p.passed, p.tookMS = e.Timestamp, e.Success, e.DurationMS
	p.held, p.ends = p.held[:0], p.ends[:0]
	for _, text := range e.texts() {
		p.hold(*text)
	}
	for _, scope := range e.Scopes {
		if len(p.held) >= maxHeld {
			break
		}
		p.hold(scope)
	}
}

// texts are all texts of an event but its scopes.
func (e *Event) texts() [18]*string {
	return [...]*string{
		&e.Code, &e.Method, &e.Rule, &e.Action, &e.Provider, &e.Cache, &e.WouldBe, &e.Shadow, &e.Binding, &e.TraceID, &e.ClientIP, &e.Peer,
		&e.IdentityToken, &e.RequestID, &e.Host, &e.UserID, &e.Reason, &e.Path,
	}
}

// hold keeps a text, or as much of it as there is room for.
func (p *place) hold(text string) {
	room := max(0, min(longest, maxHeld-len(p.held)))
	if len(text) <= room {
		p.held = append(p.held, text...)
	} else {
		for room > 0 && !utf8.RuneStart(text[room]) {
			room--
		}
		p.held = append(append(p.held, text[:room]...), "…"...)
	}
	p.ends = append(p.ends, len(p.held))
}

// show encodes the event, once. The caller has locked the place.
func (p *place) show() *Numbered {
	if p.shown != nil {
		return p.shown
	}
	e := Event{Timestamp: p.at, Success: p.passed, DurationMS: p.tookMS}
	all, from := string(p.held), 0
	next := func(i int) string {
		text := all[from:p.ends[i]]
		from = p.ends[i]
		return text
	}
	texts := e.texts()
	for i, text := range texts {
		*text = next(i)
	}
	for i := len(texts); i < len(p.ends); i++ {
		e.Scopes = append(e.Scopes, next(i))
	}
	p.shown = &Numbered{
		Number: p.number, JSON: strings.TrimSuffix(string(e.Append(nil)), "\n"), code: e.Code, rule: e.Rule,
		text: strings.ToLower(strings.Join(append([]string{e.Action, e.UserID, e.Code, e.Method + " " + e.Host + e.Path,
			e.ClientIP, e.Peer, e.RequestID, e.Provider, e.Reason}, e.Scopes...), "\n")),
	}
	return p.shown
}

// Batch is what has come since an event.
type Batch struct {
	Events []*Numbered // the oldest first
	Last   uint64      // the number to go on from
	Missed uint64      // events that were no longer kept, of any kind
	Gap    bool        // the number is of another process: how many were missed is not known
}

// Since gives the events after a number that the filter takes; after 0, all that are kept.
func (r *Recent) Since(after uint64, f Filter) (b Batch) {
	newest := r.newest.Load()
	b.Gap = after != 0 && after < r.begin
	oldest := r.begin + 1
	if newest > r.begin+recent {
		oldest = newest - recent + 1
	}
	number := max(after+1, oldest)
	if after >= r.begin {
		b.Missed = number - after - 1
	}
	for ; number <= newest; number++ {
		p := &r.ring[number%recent]
		p.mu.Lock()
		held := p.number
		var n *Numbered
		if held == number {
			n = p.show()
		}
		p.mu.Unlock()
		switch {
		case held < number: // it is being kept
			b.Last = number - 1
			return b
		case held > number:
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

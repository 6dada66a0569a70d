package transport

import (
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// attackTime is how long each attack lasts. SCOPEWARD's other connection is asked meanwhile.
const attackTime = 300 * time.Millisecond

// attacks are what a peer may do, without end. Each is called with the number of the
// round, and returns an error when the server has had enough.
var attacks = map[string]func(p *peer, round int) error{
	"rapid reset": func(p *peer, round int) error {
		id := uint32(2*round + 1)
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(checkHead()...), EndHeaders: true})
		_ = p.WriteData(id, true, message(p.t, get("/users", "slow-"+itoa(round))))
		return p.WriteRSTStream(id, http2.ErrCodeCancel)
	},
	"rapid reset of other calls": func(p *peer, round int) error {
		id := uint32(2*round + 1)
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(checkHead(hpack.HeaderField{Name: ":path", Value: "/a/b"})...), EndHeaders: true})
		return p.WriteRSTStream(id, http2.ErrCodeCancel)
	},
	"made you reset": func(p *peer, round int) error {
		id := uint32(2*round + 1)
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(checkHead()...), EndHeaders: true})
		_ = p.WriteData(id, true, message(p.t, get("/users", "slow-"+itoa(round))))
		return p.WriteWindowUpdate(id, 1<<31-1)
	},
	"streams without an end": func(p *peer, round int) error {
		return p.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*round + 1), BlockFragment: p.encode(checkHead()...), EndHeaders: true})
	},
	"continuations": func(p *peer, round int) error {
		if round == 0 {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode(checkHead()...)})
		}
		return p.WriteContinuation(1, false, p.encode(hpack.HeaderField{Name: "x-" + itoa(round), Value: "y"}))
	},
	"empty continuations": func(p *peer, round int) error {
		if round == 0 {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode(checkHead()...)})
		}
		return p.WriteContinuation(1, false, nil)
	},
	"settings": func(p *peer, round int) error {
		return p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(round % 3)})
	},
	"pings": func(p *peer, round int) error { return p.WritePing(false, [8]byte{byte(round)}) },
	"priority": func(p *peer, round int) error {
		return p.WritePriority(uint32(2*round+3), http2.PriorityParam{StreamDep: 1})
	},
	"unknown frames": func(p *peer, round int) error { return p.WriteRawFrame(0xf0, 0, 0, make([]byte, 100)) },
	"empty data": func(p *peer, round int) error {
		if round == 0 {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode(checkHead()...), EndHeaders: true})
		}
		return p.WriteData(1, false, nil)
	},
	"window updates": func(p *peer, round int) error {
		if round == 0 {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode(checkHead()...), EndHeaders: true})
		}
		return p.WriteWindowUpdate(1, 1)
	},
	"HPACK bomb": func(p *peer, round int) error {
		fields := checkHead()
		for range 4000 { // of one byte each, once it is in the table
			fields = append(fields, hpack.HeaderField{Name: "x", Value: string(make([]byte, 3000))})
		}
		return p.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*round + 1), BlockFragment: p.encode(fields...), EndHeaders: true, EndStream: true})
	},
	"zero window": func(p *peer, round int) error {
		if round == 0 {
			_ = p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		}
		id := uint32(2*round + 1)
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(checkHead()...), EndHeaders: true})
		return p.WriteData(id, true, message(p.t, get("/users", "")))
	},
	"bodies that never end": func(p *peer, round int) error {
		id := uint32(2*round + 1)
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(checkHead()...), EndHeaders: true})
		return p.WriteData(id, false, append([]byte{0, 0, 3, 0, 0}, make([]byte, 8<<10)...))
	},
	"checks": func(p *peer, round int) error {
		id := uint32(2*round + 1)
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(checkHead()...), EndHeaders: true})
		return p.WriteData(id, true, message(p.t, get("/public", "")))
	},
	"other calls": func(p *peer, round int) error {
		return p.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*round + 1), BlockFragment: p.encode(checkHead(hpack.HeaderField{Name: ":path", Value: "/a/b"})...), EndHeaders: true, EndStream: true})
	},
}

// TestAttacks: whatever a peer does, another connection is answered, and memory and
// goroutines stay bounded. It logs what each attack got, and what the other connection felt.
func TestAttacks(t *testing.T) {
	for name, attack := range attacks {
		for _, reads := range []bool{true, false} {
			how := name
			if !reads {
				how += ", reading nothing"
			}
			t.Run(how, func(t *testing.T) {
				onBoth(t, func(t *testing.T, address string, g *gate) { attacked(t, address, g, attack, reads) })
			})
		}
	}
}

func attacked(t *testing.T, address string, g *gate, attack func(*peer, int) error, reads bool) {
	client := authv3.NewAuthorizationClient(dial(t, address))
	if _, err := client.Check(timely(t), get("/public", "")); err != nil {
		t.Fatal(err)
	}
	p := connectRaw(t, address)
	_ = p.SetDeadline(time.Now().Add(attackTime))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	if reads {
		wg.Go(func() { _, _ = io.Copy(io.Discard, p.Conn) })
	}
	rounds := 0
	wg.Go(func() {
		for end := time.Now().Add(attackTime); time.Now().Before(end); rounds++ {
			if attack(p, rounds) != nil {
				return
			}
		}
	})
	var took []time.Duration
	for end := time.Now().Add(attackTime); time.Now().Before(end); {
		start := time.Now()
		r, err := client.Check(timely(t), get("/public", ""))
		if err != nil || codeOf(r) != "allow" {
			t.Fatalf("another connection got %v, %v", codeOf(r), err)
		}
		took = append(took, time.Since(start))
	}
	goroutines := runtime.NumGoroutine()
	runtime.GC()
	runtime.ReadMemStats(&after)
	wg.Wait()
	slices.Sort(took)
	grown := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) >> 20
	t.Logf("%d rounds, %d MiB, %d goroutines; the other connection: %d checks, p50 %v, p99 %v",
		rounds, grown, goroutines, len(took), took[len(took)/2], took[len(took)*99/100])
	// The client's own share is in both.
	if limit := 8*maxStreams + 100; goroutines > limit {
		t.Errorf("%d goroutines, want at most %d", goroutines, limit)
	}
	if grown > 64 {
		t.Errorf("%d MiB of memory", grown)
	}
	close(g.open)
}

package pace

import (
	"context"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Go program that is mostly idle spends much of its CPU on waking: for each goroutine
// that becomes runnable, the scheduler looks for an idle processor (a P, of which there
// are GOMAXPROCS), and wakes a thread to look for work there. A check is a row of short
// goroutines that wake each other, so it costs more on two processors than on one that
// has time for it.
const (
	procsTick = 100 * time.Millisecond
	// crowded is the use of the processors from which all are wanted.
	crowded = 0.7
	// roomy is the use, of one processor fewer, below which one fewer does.
	roomy = 0.5
	// procsPatience is how long one fewer must have done before it goes.
	procsPatience = 3 * time.Second
)

// Processors keeps GOMAXPROCS as low as the CPU time that the process uses allows, and
// brings all back when they are wanted.
type Processors struct {
	apply func(int) // sets GOMAXPROCS

	mu   sync.Mutex
	most int           // as many as the machine or the container gives
	now  int           // in force
	calm time.Duration // how long one fewer would have done
	long int           // how many long pieces of work want all of them
}

func NewProcessors(most int, apply func(int)) *Processors {
	return &Processors{apply: apply, most: most, now: most}
}

// TuneProcs sets GOMAXPROCS until ctx ends. Where it is set in the environment, that is
// the operator's word.
func TuneProcs(ctx context.Context, p *Processors) {
	if _, set := os.LookupEnv("GOMAXPROCS"); set || p.most == 1 {
		return
	}
	tick := time.NewTicker(procsTick)
	defer tick.Stop()
	for cpu, at := cpuTime(), time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		nextCPU, now := cpuTime(), time.Now()
		p.used(float64(nextCPU-cpu)/float64(now.Sub(at)), now.Sub(at))
		cpu, at = nextCPU, now
	}
}

// used takes note of how many processors the process used for a while.
func (p *Processors) used(cores float64, during time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case cores > crowded*float64(p.now):
		p.set(p.most)
	case p.now == 1 || cores > roomy*float64(p.now-1):
		p.calm = 0
	default:
		if p.calm += during; p.calm >= procsPatience {
			p.set(p.now - 1)
		}
	}
}

// All brings all processors back until done is called, for work that takes long: on one,
// requests would wait for its time slices, of 10 ms.
func (p *Processors) All() (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.long++
	p.set(p.most)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.long--
		p.calm = 0
	}
}

// set is called with the lock held.
func (p *Processors) set(n int) {
	p.calm = 0
	if n != p.now && (p.long == 0 || n == p.most) {
		p.now = n
		p.apply(n)
	}
}

// cpuTime is what the process has used so far, in user and kernel mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

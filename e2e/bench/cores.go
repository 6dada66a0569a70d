package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// What a check costs a processor where nobody else writes: the table of the README, without Envoy between.
const (
	noopCheck = 43500 * time.Nanosecond
	ourCheck  = noopCheck * 65 / 100
)

// visit is a cache line that all processors write, and for how many times the way of a line from one processor to another
// it is held.
type visit struct {
	line  string
	times float64
}

// noopVisits are what a check of the empty server writes that is shared; Scopeward's are among them.
var noopVisits = []visit{{"grpc: handlers", 1}, {"grpc: handlers", 1}}

// ourVisits are in the order of a check (Server.answer). A lock is a visit to take and one to release it.
var ourVisits = []visit{
	{"grpc: handlers", 1},
	{"in flight", 1},
	{"cache: the token's part", 1}, {"cache: the token's part", 1},
	{"hits of the rule", 1},
	{"metrics: decisions", 1},
	{"metrics: histogram, its half", 1}, {"metrics: histogram, bucket", 1}, {"metrics: histogram, sum and count", 2},
	{"metrics: lookups", 1},
	{"audit: lock", 3}, // and the end of the lines that wait
	{"in flight", 1},
	{"grpc: handlers", 1},
}

// simulateCores prints what so many processors lose by waiting for each other's cache lines, in simulated time. All ask with
// one token, which is the worst for the cache.
func simulateCores(processors int) {
	fmt.Println("| a line's way | processors | empty server loses | Scopeward loses | checks/s to the empty server |")
	fmt.Println("|---|---|---|---|---|")
	for _, way := range []time.Duration{50 * time.Nanosecond, 100 * time.Nanosecond, 150 * time.Nanosecond} {
		for n := min(2, processors); ; n = min(4*n, processors) {
			noop, ours := lost(n, noopCheck, noopVisits, way), lost(n, ourCheck, ourVisits, way)
			ratio := (1 - ours) / (1 - noop) * float64(noopCheck) / float64(ourCheck)
			fmt.Printf("| %v | %d | %.1f %% | %.1f %% | %.2f |\n", way, n, 100*noop, 100*ours, ratio)
			if n == processors {
				break
			}
		}
	}
}

// lost is the share of the checks that processors make less of than if they shared nothing.
func lost(processors int, alone time.Duration, visits []visit, way time.Duration) float64 {
	const warm, checks = 20_000, 100_000
	random := rand.New(rand.NewPCG(1, 1))
	between := float64(alone) / float64(len(visits))
	free := map[string]float64{} // when the line's last holder is done with it
	all := make([]processor, processors)
	for i := range all {
		all[i].at = random.Float64() * float64(alone)
	}
	var from float64
	for done := 0; ; {
		p := earliest(all)
		v := visits[p.next]
		end := max(p.at, free[v.line]) + v.times*float64(way)
		free[v.line] = end
		if p.next++; p.next == len(visits) {
			p.next = 0
			switch done++; done {
			case warm:
				from = end
			case warm + checks:
				return 1 - checks/(end-from)*float64(alone)/float64(processors)
			}
		}
		p.at = end + random.ExpFloat64()*between
	}
}

// processor comes to its next visit at a time in nanoseconds.
type processor struct {
	at   float64
	next int
}

// earliest is who comes next.
func earliest(all []processor) *processor {
	first := &all[0]
	for i := range all {
		if all[i].at < first.at {
			first = &all[i]
		}
	}
	return first
}

// Command bench measures Scopeward behind a real Envoy, as ratios to a stock grpc-go server that allows everything without
// looking: what is beyond that server is Scopeward's own cost.
//
//	go run ./e2e/bench                        the table (make bench)
//	go run ./e2e/bench -base COMMIT           compares the tree with a commit, and fails on a loss (make bench-check)
//	go run ./e2e/bench -identities 1000000    what so many cached identities take, and the collector's pauses; these are
//	                                          its own where the load leaves it a processor: taskset -c 1 go run … -server-cpu 0
//	go run ./e2e/bench -reload 10000          how soon it is ready, and what reading so many rules again does to latency
//	go run ./e2e/bench -connections 1,16,256  the table at other numbers of connections
//	go run ./e2e/bench -rate 1000             the table at a low load, of so many requests a second
//	go run ./e2e/bench -server name=COMMAND   measures another server too; {port} and {jwks} stand in COMMAND
//
// All servers run at the same time, each behind an Envoy of its own, and are loaded one after the other in rounds that
// begin with another server each time, and go through them forwards and backwards. Ratios are taken within a round, and the
// table has their medians. A machine's absolute figures say little, and those of a busy machine nothing: only the ratios are
// meant to be read.
//
// The workload is Scopeward with everything on (audit, metrics, cache, identity headers) and RS256 tokens, asked by 64
// connections: once with one token, and once with many in turn. The load comes from wrk where it is on the PATH, else from a
// generator in this process, which takes more of the machine. It needs Linux, for the CPU time of the servers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settings are the flags.
type settings struct {
	rounds     int
	duration   time.Duration
	tokens     int
	conns      []int
	rate       int
	tolerance  float64
	base       string
	identities int
	serverCPU  int
	rules      int
	servers    []string
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 6, "how many rounds")
	flag.DurationVar(&s.duration, "duration", 4*time.Second, "how long each server is loaded in a round, for each load")
	flag.IntVar(&s.tokens, "tokens", 50_000, "how many distinct tokens the second load has")
	s.conns = []int{64}
	flag.Func("connections", "how many connections ask at a time, a `list` with commas (default 64)", func(v string) (err error) {
		s.conns, err = numbers(v)
		return err
	})
	flag.IntVar(&s.rate, "rate", 0, "ask only so many times a `second`, instead of as fast as the answers come")
	flag.StringVar(&s.base, "base", "", "compare with this `commit`; exit status 1 on a loss")
	flag.Float64Var(&s.tolerance, "tolerance", 10, "with -base: how many `percent` more CPU are no loss but noise; 5 needs some 20 rounds")
	flag.IntVar(&s.identities, "identities", 0, "fill the cache with so many identities, and measure nothing else")
	flag.IntVar(&s.rules, "reload", 0, "start with so many `rules` and read them again, and measure nothing else")
	flag.IntVar(&s.serverCPU, "server-cpu", -1, "with -identities: the `processor` that Scopeward runs on (taskset)")
	flag.Func("server", "also measure `name=COMMAND`; repeatable", func(v string) error {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return fmt.Errorf("want name=COMMAND")
		}
		s.servers = append(s.servers, v)
		return nil
	})
	noop := flag.String("noop", "", "run the server that allows everything on this `address`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := func() error {
		if *noop != "" {
			return serveNoop(ctx, *noop)
		}
		if s.identities > 0 {
			return identities(ctx, s)
		}
		if s.rules > 0 {
			return reloads(ctx, s)
		}
		err := bench(ctx, s)
		if lost := (*loss)(nil); errors.As(err, &lost) {
			// Two processes of one program may differ by as much, for as long as they live.
			fmt.Fprintf(os.Stderr, "bench: %v; once more, with new processes\n", err)
			err = bench(ctx, s)
		}
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench sets everything up, measures, and takes it down again.
func bench(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "scopeward-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := prepare(dir, s.tokens)
	if err != nil {
		return err
	}
	targets, stop, err := start(ctx, w, s)
	defer stop()
	if err != nil {
		return err
	}
	generate, by := generator(dir, s.rate)
	for _, l := range []load{{name: "one token", tokens: w.tokens[:1]}, {name: fmt.Sprintf("%d tokens", len(w.tokens)), tokens: w.tokens}} {
		for _, t := range targets {
			if err := t.sees(ctx, l); err != nil {
				return err
			}
		}
		for _, conns := range s.conns {
			title := fmt.Sprintf("%s, %d connections, by %s", l.name, conns, by)
			err := compete(targets, s, title, func(t *target, d time.Duration) (result, error) { return generate(ctx, t, l, conns, d) })
			if err != nil {
				return err
			}
		}
	}
	ask, err := straight(dir, w.tokens[0])
	if err != nil {
		fmt.Printf("\nWithout Envoy between: not measured: %v\n", err)
		return nil
	}
	return compete(targets, s, "one token, without Envoy between, by h2load", func(t *target, d time.Duration) (result, error) { return ask(ctx, t, d) })
}

// compete loads the targets in turn, and prints the table. With a base, it fails with a
// *loss if the tree takes more CPU.
func compete(targets []*target, s settings, title string, ask func(*target, time.Duration) (result, error)) error {
	for _, t := range targets { // connections, caches, and a first collection
		t.rounds = nil
		if _, err := ask(t, 2*time.Second); err != nil {
			return err
		}
	}
	for round := range s.rounds {
		for _, t := range order(targets, round) {
			r, err := t.measure(func() (result, error) { return ask(t, s.duration) })
			if err != nil {
				return err
			}
			t.rounds = append(t.rounds, r)
		}
	}
	fmt.Printf("\n%s, %d rounds of %v\n\n", title, s.rounds, s.duration)
	table(targets)
	if s.base == "" {
		return nil
	}
	return compare(targets, title, s.tolerance)
}

// numbers reads a list of positive numbers, separated by commas.
func numbers(text string) (list []int, err error) {
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("%q is no positive number", field)
		}
		list = append(list, n)
	}
	return list, nil
}

// order is that of a round: who comes after whom makes a difference of some hundredths.
func order(targets []*target, round int) []*target {
	first := round / 2 % len(targets)
	ordered := slices.Concat(targets[first:], targets[:first])
	if round%2 == 1 {
		slices.Reverse(ordered)
	}
	return ordered
}

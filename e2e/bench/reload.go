package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"scopeward/internal/envoyrun"
	"scopeward/internal/process"
)

const (
	starts       = 15
	reloadPeriod = time.Second
	askers       = 8
	askPeriod    = 10 * time.Millisecond // of each asker
)

// reloads says how soon Scopeward is ready, with one rule and with many, and what reading many rules again once a second does
// to the latency of checks, which come at a steady pace.
func reloads(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "scopeward-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := prepare(dir, 1)
	if err != nil {
		return err
	}
	binary, err := buildScopeward(ctx, dir)
	if err != nil {
		return err
	}
	for _, rules := range []int{1, s.rules} {
		if err := w.writeRules(rules); err != nil {
			return err
		}
		var took []time.Duration
		for range starts {
			r, err := startReady(ctx, binary, w)
			if err != nil {
				return err
			}
			took = append(took, r.took)
			if err := r.server.Stop(); err != nil {
				return err
			}
		}
		slices.Sort(took)
		fmt.Printf("ready with %d rules: median %v, longest %v of %d starts\n", rules, took[starts/2], took[starts-1], starts)
	}
	return reloadLatency(ctx, binary, w, s)
}

// versions are files of the same rules that differ.
var versions = [...]string{"one.yaml", "other.yaml"}

// writeRules writes the versions of a policy, and makes the first the one in force.
func (w *workload) writeRules(n int) error {
	for _, name := range versions {
		var text strings.Builder
		fmt.Fprintf(&text, "# %s\n%s", name, policyText)
		for i := range n - 1 {
			fmt.Fprintf(&text, "  - match: GET /service%d/{id}/items/{item}\n    scopes: [read:service%d]\n", i, i%100)
		}
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text.String()), 0o600); err != nil {
			return err
		}
	}
	return w.use(versions[0])
}

// use brings a version into force in one step, as Kubernetes does with a ConfigMap's. To write it then would take
// processor time of those who ask.
func (w *workload) use(version string) error {
	next := filepath.Join(w.dir, "next")
	return errors.Join(os.Symlink(version, next), os.Rename(next, filepath.Join(w.dir, "policy.yaml")))
}

// started is a Scopeward that is ready.
type started struct {
	server  *process.Process
	log     *bytes.Buffer // to be read once it has ended
	address string
	took    time.Duration // from the start of the process to readiness
}

func startReady(ctx context.Context, binary string, w *workload) (*started, error) {
	port, err := envoyrun.FreePort()
	if err != nil {
		return nil, err
	}
	admin, err := envoyrun.FreePort()
	if err != nil {
		return nil, err
	}
	s := &started{log: &bytes.Buffer{}, address: fmt.Sprintf("127.0.0.1:%d", port)}
	begin := time.Now()
	s.server, err = process.Start(process.Options{Path: binary, Stderr: s.log, Args: []string{
		"serve", "--config", filepath.Join(w.dir, "scopeward.yaml"), "--listen", s.address, "--admin", fmt.Sprintf("127.0.0.1:%d", admin),
	}})
	if err != nil {
		return nil, err
	}
	for poll := time.Tick(time.Millisecond); ; {
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", admin))
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				s.took = time.Since(begin)
				return s, nil
			}
		}
		select {
		case <-poll:
		case <-ctx.Done():
			s.server.Kill()
			return nil, ctx.Err()
		case <-s.server.Done():
			return nil, s.server.Err()
		}
	}
}

// reloadLatency asks in rounds, every other of them while the rules are read again.
func reloadLatency(ctx context.Context, binary string, w *workload, s settings) error {
	r, err := startReady(ctx, binary, w)
	if err != nil {
		return err
	}
	defer r.server.Kill()
	conn, err := grpc.NewClient(r.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := authv3.NewAuthorizationClient(conn)
	took, changes := map[bool][]time.Duration{}, 0
	for round := range 2 * (s.rounds + 1) {
		reload := round%2 == 1
		latencies, err := askSteadily(ctx, client, w.tokens[0], s.duration, func() error {
			if !reload {
				return nil
			}
			changes++
			return w.use(versions[changes%len(versions)])
		})
		if err != nil {
			return errors.Join(err, r.server.Err())
		}
		if round > 1 { // the first two warm up
			took[reload] = append(took[reload], latencies...)
		}
	}
	for _, reload := range []bool{false, true} {
		l := took[reload]
		slices.Sort(l)
		fmt.Printf("%d checks, %d a second, reloads %t: p50 %v, p99 %v, p99.9 %v\n", len(l), askers*time.Second/askPeriod, reload, l[len(l)/2], l[len(l)*99/100], l[len(l)*999/1000])
	}
	if err := r.server.Stop(); err != nil {
		return err
	}
	fmt.Printf("%d changes, %d reloads\n", changes, strings.Count(r.log.String(), "the files were loaded"))
	return nil
}

// askSteadily makes checks at a pace that does not depend on the answers, and gives their latencies; meanwhile it calls each
// once a second.
func askSteadily(ctx context.Context, client authv3.AuthorizationClient, token string, d time.Duration, each func() error) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	group := errgroup.Group{}
	results := make([][]time.Duration, askers)
	for i := range results {
		group.Go(func() error {
			for due := range every(ctx, askPeriod, time.Duration(i)*askPeriod/askers) {
				if err := ask(context.WithoutCancel(ctx), client, token); err != nil {
					return err
				}
				results[i] = append(results[i], time.Since(due))
			}
			return nil
		})
	}
	group.Go(func() error {
		for range every(ctx, reloadPeriod, 0) {
			if err := each(); err != nil {
				return err
			}
		}
		return nil
	})
	err := group.Wait()
	return slices.Concat(results...), err
}

// every gives the times that are due until ctx ends. Who is late is given them late.
func every(ctx context.Context, period, first time.Duration) func(yield func(time.Time) bool) {
	return func(yield func(time.Time) bool) {
		for due := time.Now().Add(first); ; due = due.Add(period) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(due)):
			}
			if !yield(due) {
				return
			}
		}
	}
}

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"golang.org/x/sync/errgroup"
)

// load is what a server is asked: each of the tokens in turn.
type load struct {
	name   string
	tokens []string
}

// result is what one round gave.
type result struct {
	requests int
	rate     float64 // requests/s
	p50, p99 time.Duration
	cpu      float64 // µs of the server's CPU per request
	rss      float64 // MiB after the round
}

// generate puts a load on a target for a while. An answer that is no success is an error.
type generate func(ctx context.Context, t *target, l load, conns int, d time.Duration) (result, error)

// generator chooses what makes the load. A rate of 0 is as fast as the answers come.
func generator(dir string, rate int) (run generate, name string) {
	paced := func(ctx context.Context, t *target, l load, conns int, d time.Duration) (result, error) {
		return attack(ctx, t, l, conns, rate, d)
	}
	if rate > 0 {
		return paced, fmt.Sprintf("vegeta, %d requests/s", rate)
	}
	path, err := exec.LookPath("wrk")
	if err != nil {
		return paced, "vegeta (wrk is not installed; it takes less of the machine)"
	}
	return func(ctx context.Context, t *target, l load, conns int, d time.Duration) (result, error) {
		return wrk(ctx, path, dir, t, l, conns, d)
	}, "wrk"
}

// sees sends each token of the load once. A round asks for some of the tokens only: without
// this, the first rounds would measure first sights, and later ones fewer of them.
func (t *target) sees(ctx context.Context, l load) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, token := range l.tokens {
		group.Go(func() error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
			if err != nil {
				return err
			}
			req.Header.Set("Authorization", "Bearer "+token)
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode >= 300 {
				err = fmt.Errorf("%s answers %d to one of the tokens", t.url, resp.StatusCode)
			}
			return err
		})
	}
	return group.Wait()
}

// attack loads by vegeta's library, within this process.
func attack(ctx context.Context, t *target, l load, conns, rate int, d time.Duration) (result, error) {
	var n atomic.Uint64
	targeter := func(to *vegeta.Target) error {
		token := l.tokens[n.Add(1)%uint64(len(l.tokens))]
		to.Method, to.URL, to.Header = http.MethodGet, t.url, http.Header{"Authorization": {"Bearer " + token}}
		return nil
	}
	attacker := vegeta.NewAttacker(vegeta.Workers(uint64(conns)), vegeta.MaxWorkers(uint64(conns)), vegeta.Connections(conns))
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()
	var m vegeta.Metrics
	for r := range attacker.Attack(targeter, vegeta.Rate{Freq: rate, Per: time.Second}, d, l.name) {
		m.Add(r)
	}
	m.Close()
	if ctx.Err() != nil {
		return result{}, ctx.Err()
	}
	if m.Success < 1 || m.Requests == 0 {
		return result{}, fmt.Errorf("of %d requests %.2f %% failed: %v", m.Requests, 100*(1-m.Success), m.Errors)
	}
	return result{requests: int(m.Requests), rate: m.Throughput, p50: m.Latencies.P50, p99: m.Latencies.P99}, nil
}

// script is wrk's: each of its threads begins elsewhere in the list of tokens.
const script = `local threads = 0
function setup(thread) thread:set("id", threads); threads = threads + 1 end
function init()
  requests, n = {}, 0
  for token in io.lines(os.getenv("TOKENS")) do
    requests[#requests + 1] = wrk.format("GET", nil, {["Authorization"] = "Bearer " .. token})
  end
  n = id * math.floor(#requests / 2)
end
function request() n = n % #requests + 1; return requests[n] end
`

// wrk loads by wrk.
func wrk(ctx context.Context, path, dir string, t *target, l load, conns int, d time.Duration) (result, error) {
	lua, tokens := filepath.Join(dir, "tokens.lua"), filepath.Join(dir, fmt.Sprintf("tokens-%d", len(l.tokens)))
	if err := writeLines(lua, tokens, l); err != nil {
		return result{}, err
	}
	cmd := exec.CommandContext(ctx, path, "-t2", fmt.Sprintf("-c%d", conns), fmt.Sprintf("-d%ds", max(1, int(d.Seconds()))), "--latency", "-s", lua, t.url)
	cmd.Env = append(os.Environ(), "TOKENS="+tokens)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	if regexp.MustCompile(`Non-2xx|Socket errors`).Match(out) {
		return result{}, fmt.Errorf("requests failed:\n%s", out)
	}
	var r result
	if r.requests, err = strconv.Atoi(found(out, `(\d+) requests in`)); err != nil || r.requests == 0 {
		return result{}, fmt.Errorf("wrk's output can't be read:\n%s", out)
	}
	if r.rate, err = strconv.ParseFloat(found(out, `Requests/sec:\s+([\d.]+)`), 64); err != nil {
		return result{}, err
	}
	if r.p50, err = time.ParseDuration(found(out, `(?m)^\s+50%\s+(\S+)`)); err != nil {
		return result{}, err
	}
	r.p99, err = time.ParseDuration(found(out, `(?m)^\s+99%\s+(\S+)`))
	return r, err
}

func found(out []byte, pattern string) string {
	if m := regexp.MustCompile(pattern).FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return ""
}

func writeLines(lua, tokens string, l load) error {
	if _, err := os.Stat(tokens); err == nil {
		return nil
	}
	var text []byte
	for _, token := range l.tokens {
		text = append(append(text, token...), '\n')
	}
	if err := os.WriteFile(tokens, text, 0o600); err != nil {
		return err
	}
	return os.WriteFile(lua, []byte(script), 0o600)
}

package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

// median of a figure over the rounds.
func (t *target) median(figure func(result) float64) float64 {
	var values []float64
	for _, r := range t.rounds {
		values = append(values, figure(r))
	}
	return median(values)
}

// ratio is the median of the rounds' ratios of a figure to another target's: what the machine does besides changes from round
// to round, and within one as good as not.
func (t *target) ratio(other *target, figure func(result) float64) float64 {
	var ratios []float64
	for i, r := range t.rounds {
		ratios = append(ratios, figure(r)/figure(other.rounds[i]))
	}
	return median(ratios)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	half := len(values) / 2
	if len(values)%2 == 1 {
		return values[half]
	}
	return (values[half-1] + values[half]) / 2
}

func cpu(r result) float64  { return r.cpu }
func rate(r result) float64 { return r.rate }
func p50(r result) float64  { return r.p50.Seconds() }
func p99(r result) float64  { return r.p99.Seconds() }
func rss(r result) float64  { return r.rss }

// table prints ratios to the first target, the reference.
func table(targets []*target) {
	fmt.Println("| server | CPU per check | requests/s | p50 | p99 | memory |")
	fmt.Println("|---|---|---|---|---|---|")
	first := targets[0]
	for _, t := range targets {
		fmt.Printf("| %s |", t.name)
		for _, figure := range []func(result) float64{cpu, rate, p50, p99} {
			fmt.Printf(" %.2f |", t.ratio(first, figure))
		}
		fmt.Printf(" %.0f MiB |\n", t.median(rss))
	}
	fmt.Printf("\n%s: %.1f µs of CPU per check, %.0f requests/s, p50 %.2f ms, p99 %.2f ms\n",
		first.name, first.median(cpu), first.median(rate), 1000*first.median(p50), 1000*first.median(p99))
}

// loss says that the tree takes more CPU than the base.
type loss struct {
	title            string
	ratio, tolerance float64
}

func (l *loss) Error() string {
	return fmt.Sprintf("%s: a check takes %.0f %% more CPU than the base's; at most %g %% are taken for noise", l.title, 100*(l.ratio-1), l.tolerance)
}

// compare fails with a *loss if the tree takes more CPU than the base, by more than tolerance percent.
func compare(targets []*target, title string, tolerance float64) error {
	by := map[string]*target{}
	for _, t := range targets {
		by[t.name] = t
	}
	ratio := by["scopeward"].ratio(by["base"], cpu)
	fmt.Printf("\n%s: CPU per check is %.2f of the base's\n", title, ratio)
	if ratio > 1+tolerance/100 {
		return &loss{title, ratio, tolerance}
	}
	return nil
}

// buildBase builds Scopeward as it was at a commit, and holds the allocations of a check now against those of then.
func buildBase(ctx context.Context, dir, commit string) (binary string, err error) {
	tree := filepath.Join(dir, "base")
	if out, err := exec.CommandContext(ctx, "git", "worktree", "add", "--detach", tree, commit).CombinedOutput(); err != nil {
		return "", fmt.Errorf("commit %s can't be checked out: %w\n%s", commit, err, out)
	}
	defer func() { _ = exec.Command("git", "worktree", "remove", "--force", tree).Run() }()
	binary = filepath.Join(dir, "scopeward-base")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/scopeward")
	build.Dir = tree
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building Scopeward of %s: %w\n%s", commit, err, out)
	}
	then, err := allocations(ctx, tree)
	if err != nil {
		return "", err
	}
	now, err := allocations(ctx, ".")
	if err != nil {
		return "", err
	}
	fmt.Printf("allocations per check: %d, and %d at the base\n", now, then)
	if now > then {
		return "", fmt.Errorf("a check makes %d allocations, %d more than the base's", now, now-then)
	}
	return binary, nil
}

// allocations is how many a check makes in a tree, from the bytes of the request to those of the answer.
func allocations(ctx context.Context, tree string) (int, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkCodec$", "-benchmem", "-benchtime", "5000x", "./authz")
	cmd.Dir = tree
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("go test -bench Codec: %w\n%s", err, out)
	}
	n, err := strconv.Atoi(found(out, `(\d+) allocs/op`))
	if err != nil {
		return 0, fmt.Errorf("the benchmark's output has no allocations:\n%s", out)
	}
	return n, nil
}

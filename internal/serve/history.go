package serve

import (
	"context"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"scopeward/internal/admin/page"
)

const (
	historyStep  = 10 * time.Second
	historySteps = 90 // a quarter of an hour

	decisionsTotal = "scopeward_decisions_total"
	checkDuration  = "scopeward_check_duration_seconds"
)

// history is what was decided in the last quarter of an hour, from the metrics: it costs
// requests nothing.
type history struct {
	mu    sync.Mutex
	steps []page.Step // the oldest first
	last  counts
}

// counts are what the metrics say since the start.
type counts struct {
	allowed, denied float64
	took            []*dto.Bucket
}

func (h *history) shown() []page.Step {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]page.Step{}, h.steps...)
}

// add ends a step.
func (h *history) add(at time.Time, now counts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps = append(h.steps, page.Step{
		At: at, Allowed: now.allowed - h.last.allowed, Denied: now.denied - h.last.denied,
		P50: quantile(0.5, h.last.took, now.took), P99: quantile(0.99, h.last.took, now.took),
	})
	if over := len(h.steps) - historySteps; over > 0 {
		h.steps = h.steps[over:]
	}
	h.last = now
}

// quantile estimates a quantile of what came between two readings of a histogram, in
// milliseconds, as Prometheus' histogram_quantile does. What is beyond the last bound counts
// as that.
func quantile(q float64, before, after []*dto.Bucket) float64 {
	in := func(i int) float64 { // what came up to the bound, of which the buckets hold running totals
		n := float64(after[i].GetCumulativeCount())
		if i < len(before) {
			n -= float64(before[i].GetCumulativeCount())
		}
		return n
	}
	if len(after) == 0 || in(len(after)-1) == 0 {
		return 0
	}
	rank, from, below := q*in(len(after)-1), 0.0, 0.0
	for i, b := range after {
		if n := in(i); n >= rank && n > below {
			return 1000 * (from + (b.GetUpperBound()-from)*(rank-below)/(n-below))
		} else {
			from, below = b.GetUpperBound(), n
		}
	}
	return 1000 * from
}

// remember adds a step every ten seconds.
func (s *service) remember(ctx context.Context) {
	tick := time.NewTicker(historyStep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-tick.C:
			s.history.add(at, s.counts())
		}
	}
}

func (s *service) counts() (c counts) {
	for _, f := range s.families(decisionsTotal, checkDuration) {
		for _, m := range f.GetMetric() {
			if f.GetName() == checkDuration {
				c.took = m.GetHistogram().GetBucket()
				continue
			}
			switch m.GetLabel()[0].GetValue() {
			case "allow", "metadata":
				c.allowed += m.GetCounter().GetValue()
			default:
				c.denied += m.GetCounter().GetValue()
			}
		}
	}
	return c
}

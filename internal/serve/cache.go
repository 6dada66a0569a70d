package serve

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// limitBytes is the part of maxBytes that the rate limit's counters have.
func (s *state) limitBytes() int64 { return s.maxBytes / 8 }

// sweepEvery is how long what has expired may take memory.
const sweepEvery = 10 * time.Second

// sweep frees what has expired until ctx ends.
func (s *service) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.state.Load().cache.Sweep()
		if counted := s.counters(); counted != nil {
			counted.Sweep()
		}
	}
}

// counters is what a limiter holds for each client.
type counters interface {
	Len() int
	Bytes() int64
	Sweep()
}

// counters are those of the rate limit in force, nil without.
func (s *service) counters() counters {
	counted, _ := s.server.Snapshot().Limit.Limiter.(counters)
	return counted
}

var (
	cacheEntries  = prometheus.NewDesc("scopeward_cache_entries", "Entries held in memory, by kind (identities and refusals of tokens; clients: counters of the rate limit; proofs: those of clients' keys that were used, DPoP).", []string{"kind"}, nil)
	cacheBytes    = prometheus.NewDesc("scopeward_cache_bytes", "The memory that these entries take, by kind.", []string{"kind"}, nil)
	cacheMaxBytes = prometheus.NewDesc("scopeward_cache_max_bytes", "The memory that all of these entries may take: cache.max_bytes or its default.", nil, nil)
)

// collectCache tells what is held in memory.
func (c *stateCollector) collectCache(ch chan<- prometheus.Metric) {
	held := c.state.Load()
	identities, refusals := held.cache.Len()
	identityBytes, refusalBytes := held.cache.Bytes()
	clients, clientBytes, proofs := 0, int64(0), held.proofs.seen.Len()
	if counted := c.counters(); counted != nil {
		clients, clientBytes = counted.Len(), counted.Bytes()
	}
	for _, kind := range []struct {
		name    string
		entries int
		bytes   int64
	}{{"identities", identities, identityBytes}, {"refusals", refusals, refusalBytes}, {"clients", clients, clientBytes}, {"proofs", proofs, held.proofs.seen.Bytes()}} {
		ch <- prometheus.MustNewConstMetric(cacheEntries, prometheus.GaugeValue, float64(kind.entries), kind.name)
		ch <- prometheus.MustNewConstMetric(cacheBytes, prometheus.GaugeValue, float64(kind.bytes), kind.name)
	}
	ch <- prometheus.MustNewConstMetric(cacheMaxBytes, prometheus.GaugeValue, float64(held.maxBytes))
}

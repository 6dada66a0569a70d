package transport

import (
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http2"
)

// metrics are the server's own.
type metrics struct {
	atOnce, waited, other, refused prometheus.Counter // streams
	errors                         *prometheus.CounterVec
}

// tally counts streams of a connection, until they are added to the metrics: a counter
// that all processors share is slow.
type tally struct{ atOnce, waited int }

func newMetrics(reg prometheus.Registerer, s *Server) *metrics {
	streams := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scopeward_grpc_streams_total",
		Help: "Streams of the gRPC listener, by how they were served: at_once (a check in the connection's own goroutine), waited (a check that may wait, in another), other (by the gRPC server: health, reflection and all else), refused (too many at a time).",
	}, []string{"served"})
	m := &metrics{
		atOnce: streams.WithLabelValues("at_once"), waited: streams.WithLabelValues("waited"),
		other: streams.WithLabelValues("other"), refused: streams.WithLabelValues("refused"),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scopeward_grpc_connection_errors_total",
			Help: "Connections of the gRPC listener that were closed since the peer broke a rule of HTTP/2 or asked too much, by the error code that it was told.",
		}, []string{"code"}),
	}
	reg.MustRegister(streams, m.errors,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "scopeward_grpc_streams", Help: "Open streams of the gRPC listener.",
		}, func() float64 { return float64(s.streams()) }))
	return m
}

// streams counts the open streams of all connections.
func (s *Server) streams() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.mu.Lock()
		n += len(c.streams)
		c.mu.Unlock()
	}
	return n
}

func (m *metrics) add(t *tally) {
	if t.atOnce > 0 {
		m.atOnce.Add(float64(t.atOnce))
	}
	if t.waited > 0 {
		m.waited.Add(float64(t.waited))
	}
	*t = tally{}
}

func (m *metrics) failed(code http2.ErrCode) { m.errors.WithLabelValues(codeName(code)).Inc() }

// codeName bounds the labels.
func codeName(code http2.ErrCode) string {
	if code > http2.ErrCodeHTTP11Required {
		return "other"
	}
	return code.String()
}

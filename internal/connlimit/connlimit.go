// Package connlimit bounds the connections of a listener, in all and of one peer.
//
// A connection that is too many is never kept waiting: it takes the place of one that has
// been silent, or is closed at once. So who asks for the service's health gets an answer
// however many idle connections there are.
package connlimit

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// silence is how long nothing must have been received on a connection that another
	// one may replace.
	silence = time.Second
	// logInterval is the time between two lines of the log: who can connect must not be
	// able to fill it.
	logInterval = 10 * time.Second
)

// Share is how many of max connections one peer address may have: three quarters, so that
// it can't shut out others. An Envoy has a connection or two for each of its workers.
func Share(max int) int { return max - max/4 }

// Listener bounds the connections that it accepts. It is a [prometheus.Collector].
type Listener struct {
	net.Listener
	max   int
	log   *slog.Logger
	start time.Time

	mu     sync.Mutex
	open   int
	peers  map[string]map[*conn]bool // by address
	logged time.Time
	others int // not logged since

	replaced, overLimit, overShare atomic.Int64
}

// New bounds the connections of l. Those of a Unix socket have no address, so that any of
// them may have all.
func New(l net.Listener, max int, log *slog.Logger) *Listener {
	return &Listener{Listener: l, max: max, log: log, start: time.Now(), peers: map[string]map[*conn]bool{}}
}

// Accept returns the next connection that there is room for.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: raw, listener: l, peer: peerOf(raw.RemoteAddr())}
		c.heard.Store(int64(time.Since(l.start)))
		if l.admit(c) {
			return c, nil
		}
		raw.Close()
	}
}

func peerOf(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return ""
}

// admit makes room for a connection, and reports whether there is.
func (l *Listener) admit(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, refused := l.full(c.peer)
	if refused != nil {
		silent := l.silent(full)
		l.note(c.peer, silent != nil)
		if silent == nil {
			refused.Add(1)
			return false
		}
		l.replaced.Add(1)
		l.remove(silent)
		silent.Conn.Close()
	}
	if l.peers[c.peer] == nil {
		l.peers[c.peer] = map[*conn]bool{}
	}
	l.peers[c.peer][c] = true
	l.open++
	return true
}

// full returns the peer that must give up a connection for another one of a peer, and what
// counts it if it can't; nil if there is room.
func (l *Listener) full(peer string) (gives string, refused *atomic.Int64) {
	switch {
	case peer != "" && len(l.peers[peer]) >= Share(l.max):
		return peer, &l.overShare
	case l.open < l.max:
		return "", nil
	}
	for other, conns := range l.peers {
		if len(conns) > len(l.peers[gives]) {
			gives = other
		}
	}
	return gives, &l.overLimit
}

// silent returns the connection of a peer on which nothing has been received for longest;
// nil if that is not long.
func (l *Listener) silent(peer string) (longest *conn) {
	heard := int64(time.Since(l.start) - silence)
	for c := range l.peers[peer] {
		if at := c.heard.Load(); at <= heard {
			longest, heard = c, at
		}
	}
	return longest
}

func (l *Listener) note(peer string, replaced bool) {
	if now := time.Now(); now.Sub(l.logged) >= logInterval {
		l.log.Warn("there are too many connections; see listen.max_connections", slog.Int("open", l.open), slog.Int("max", l.max),
			slog.String("peer", peer), slog.Int("of_this_peer", len(l.peers[peer])), slog.Int("share", Share(l.max)),
			slog.Bool("replaced_a_silent_one", replaced), slog.Int("others_since_the_last_line", l.others))
		l.logged, l.others = now, 0
		return
	}
	l.others++
}

// remove forgets a connection, if it has not been forgotten.
func (l *Listener) remove(c *conn) {
	if !l.peers[c.peer][c] {
		return
	}
	l.open--
	if delete(l.peers[c.peer], c); len(l.peers[c.peer]) == 0 {
		delete(l.peers, c.peer)
	}
}

// conn is a connection that counts.
type conn struct {
	net.Conn
	listener *Listener
	peer     string
	heard    atomic.Int64 // when something was last received, in ns since the listener's start
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.heard.Store(int64(time.Since(c.listener.start)))
	return n, err
}

func (c *conn) Close() error {
	c.listener.mu.Lock()
	c.listener.remove(c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

var (
	openDesc     = prometheus.NewDesc("scopeward_connections", "Open connections of the gRPC listener.", nil, nil)
	maxDesc      = prometheus.NewDesc("scopeward_connections_max", "How many connections of the gRPC listener may be open (listen.max_connections).", nil, nil)
	replacedDesc = prometheus.NewDesc("scopeward_connections_replaced_total", "Silent connections that were closed because another one needed their place.", nil, nil)
	refusedDesc  = prometheus.NewDesc("scopeward_connections_refused_total", "Connections that were closed at once, by reason: limit (listen.max_connections), share (three quarters of it, for one peer address).", []string{"reason"}, nil)
)

// Describe implements [prometheus.Collector].
func (l *Listener) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{openDesc, maxDesc, replacedDesc, refusedDesc} {
		ch <- desc
	}
}

// Collect implements [prometheus.Collector].
func (l *Listener) Collect(ch chan<- prometheus.Metric) {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(open))
	ch <- prometheus.MustNewConstMetric(maxDesc, prometheus.GaugeValue, float64(l.max))
	ch <- prometheus.MustNewConstMetric(replacedDesc, prometheus.CounterValue, float64(l.replaced.Load()))
	ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(l.overLimit.Load()), "limit")
	ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(l.overShare.Load()), "share")
}

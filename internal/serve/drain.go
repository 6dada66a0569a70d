package serve

import (
	"context"
	"net"
	"sync"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	native "scopeward/authz/transport"
)

// A process that was told to end first says so by its health, and still takes
// requests: who asks for its health must have the time to learn it and to send
// its requests elsewhere. An Envoy asks every few seconds; so the process waits
// until every connection on which it was asked for its health has been told, or
// is closed, but no longer than askersPatience; and then for spread, as Envoy may
// bring what it has learned to its workers only a second later (update_merge_window
// of its CommonLbConfig). listen.drain is a fixed time instead.
//
// Requests in flight are answered; those that a slow provider holds get their 503
// when time is short, before what is still open is cut off.
const (
	lameDuck       = 300 * time.Millisecond  // where nobody asks
	askersPatience = 5500 * time.Millisecond // so that an interval of 5 s is short enough
	spread         = 1500 * time.Millisecond
	answerBy       = 7 * time.Second // at least, after the process was told to end
	answerTime     = time.Second     // at least, after it has stopped to take requests
	cutAfter       = time.Second     // after it has hurried
)

// healthService is grpc.health.v1. It remembers on which connections it was asked.
type healthService struct {
	*health.Server
	mu     sync.Mutex
	askers map[*askerConn]bool // and whether it was told that the service ends
	told   time.Time           // when the last of them was
}

func newHealthService() *healthService {
	h := &healthService{Server: health.NewServer(), askers: map[*askerConn]bool{}}
	h.set(healthv1.HealthCheckResponse_NOT_SERVING)
	return h
}

func (h *healthService) set(status healthv1.HealthCheckResponse_ServingStatus) {
	h.SetServingStatus("", status)
	h.SetServingStatus(authv3.Authorization_ServiceDesc.ServiceName, status)
}

func (h *healthService) Check(ctx context.Context, in *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	response, err := h.Server.Check(ctx, in)
	if c := askedOn(ctx); c != nil {
		h.note(c, response.GetStatus() != healthv1.HealthCheckResponse_SERVING)
	}
	return response, err
}

// askedOn is the connection of a call.
func askedOn(ctx context.Context) *askerConn {
	if c, ok := native.Conn(ctx).(*askerConn); ok {
		return c
	}
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return nil
	}
	address, _ := p.Addr.(askerAddr)
	return address.conn
}

func (h *healthService) note(c *askerConn, told bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if told && !h.askers[c] {
		h.told = time.Now()
	}
	h.askers[c] = told
}

func (h *healthService) forget(c *askerConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.askers, c)
}

// waited tells whether a process that has drained for some time has waited enough
// for those who ask.
func (h *healthService) waited(passed time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, told := range h.askers {
		if !told {
			return passed >= askersPatience
		}
	}
	return time.Since(h.told) >= spread || passed >= askersPatience+spread
}

// askerCredentials give connections that the health service can tell apart. (A
// listener could as well, but gRPC would not know its connections for TCP.)
type askerCredentials struct {
	credentials.TransportCredentials
	health *healthService
}

func (c askerCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	return &askerConn{Conn: conn, health: c.health}, info, nil
}

func (c askerCredentials) Clone() credentials.TransportCredentials { return c }

// askerConn is a connection on which the service may be asked for its health.
type askerConn struct {
	net.Conn
	health *healthService
}

func (c *askerConn) RemoteAddr() net.Addr { return askerAddr{c.Conn.RemoteAddr(), c} }

func (c *askerConn) Close() error {
	c.health.forget(c)
	return c.Conn.Close()
}

// askerAddr is the address of a connection's other end, and knows the connection.
type askerAddr struct {
	net.Addr
	conn *askerConn
}

// drain takes requests until it is known that the process ends, answers what is
// in flight, and stops; what takes too long is cut off.
func (s *service) drain(g front, h *healthService) {
	h.Shutdown()
	start := time.Now()
	taking := func() bool {
		passed := time.Since(start)
		if fixed := s.state.Load().Config.Listen.Drain; fixed != nil {
			return passed < *fixed
		}
		return passed < lameDuck || !h.waited(passed)
	}
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for taking() {
		<-poll.C
	}
	patience := max(answerBy-time.Since(start), answerTime)
	hurry := time.AfterFunc(patience, s.server.Hurry)
	defer hurry.Stop()
	cut := time.AfterFunc(patience+cutAfter, g.Stop)
	defer cut.Stop()
	for end := time.Now().Add(patience); s.server.InFlight() > 0 && time.Now().Before(end); {
		<-poll.C
	}
	g.GracefulStop()
}

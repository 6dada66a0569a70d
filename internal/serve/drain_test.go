package serve

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"scopeward/internal/config"
	"scopeward/policy"
)

// TestDrainWaitsForAskers: a process that was told to end takes requests until
// all who ask for its health have learned of it, within bounds.
func TestDrainWaitsForAskers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		asks  []time.Duration // after the process was told to end; -1 never again
		close time.Duration   // when the first asker closes its connection; 0 never
		drain time.Duration   // listen.drain
		want  time.Duration
	}{
		"nobody asks":                 {nil, 0, 0, lameDuck},
		"one asks soon":               {[]time.Duration{10 * time.Millisecond}, 0, 0, 10*time.Millisecond + spread},
		"one asks late":               {[]time.Duration{3 * time.Second}, 0, 0, 3*time.Second + spread},
		"the last of them counts":     {[]time.Duration{time.Second, 4 * time.Second, 2 * time.Second}, 0, 0, 4*time.Second + spread},
		"one asks at the last moment": {[]time.Duration{4900 * time.Millisecond}, 0, 0, 4900*time.Millisecond + spread},
		"one never asks again":        {[]time.Duration{-1, time.Second}, 0, 0, askersPatience},
		"one goes away":               {[]time.Duration{-1}, 2 * time.Second, 0, 2 * time.Second},
		"a fixed time":                {[]time.Duration{time.Second}, 0, 20 * time.Second, 20 * time.Second},
		"no time":                     {[]time.Duration{time.Second}, 0, 1, 0},
		"a fixed time, nobody asking": {nil, 0, 8 * time.Second, 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, health, listener := drainingService(t, test.drain)
				g := s.newFront(grpcOptions{}, health)
				served := make(chan time.Duration, 1)
				var start time.Time
				go func() {
					g.Serve(listener)
					served <- time.Since(start)
				}()
				var clients []*grpc.ClientConn
				for range test.asks {
					clients = append(clients, dialBuffer(t, listener))
					askStatus(t, clients[len(clients)-1], healthv1.HealthCheckResponse_SERVING)
				}
				start = time.Now()
				go s.drain(g, health)
				for i, at := range test.asks {
					if at >= 0 {
						time.AfterFunc(at, func() { askStatus(t, clients[i], healthv1.HealthCheckResponse_NOT_SERVING) })
					}
				}
				if test.close > 0 {
					time.AfterFunc(test.close, func() { clients[0].Close() })
				}
				if took := <-served; took < test.want || took > test.want+20*time.Millisecond {
					t.Errorf("it took requests for %s, want %s", took, test.want)
				}
				for _, c := range clients {
					c.Close()
				}
				g.Stop()
			})
		})
	}
}

func drainingService(t *testing.T, drain time.Duration) (*service, *healthService, *bufconn.Listener) {
	t.Helper()
	c := config.ForIssuer("a", "https://a.example.com", nil)
	if drain > 0 {
		c.Listen.Drain = &drain
	}
	rules, err := policy.Parse(policy.File{Name: "policy.yaml", Data: []byte(tlsPolicy)})
	if err != nil {
		t.Fatal(err)
	}
	f := config.Files{Config: c, Policy: rules}
	s, err := newService(config.Options{}, f, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	health := newHealthService()
	health.set(healthv1.HealthCheckResponse_SERVING)
	return s, health, bufconn.Listen(1 << 16)
}

func dialBuffer(t *testing.T, l *bufconn.Listener) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///buffer", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func askStatus(t *testing.T, conn *grpc.ClientConn, want healthv1.HealthCheckResponse_ServingStatus) {
	t.Helper()
	response, err := healthv1.NewHealthClient(conn).Check(context.Background(), &healthv1.HealthCheckRequest{})
	if err == nil && response.GetStatus() != want {
		t.Errorf("it is %s, want %s", response.GetStatus(), want)
	}
}

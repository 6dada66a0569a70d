package e2e

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// TestOverloadIsShed: beyond capacity, some requests get 503 at once instead of all waiting, and
// once the load falls all are served again.
func TestOverloadIsShed(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	s := &system{idp: idp, scopeward: serveIn(t, []string{"GOMAXPROCS=1"}, "--config", corpus.Configure(t, t.TempDir(), "jwks", idp,
		map[string]any{"rate_limit": map[string]any{"count": "off"}}, map[string]string{"policy.yaml": usersPolicy}))}
	var clients []authv3.AuthorizationClient
	for range 4 {
		clients = append(clients, authv3.NewAuthorizationClient(dial(t, s.grpc)))
	}
	status := func(n int, token string) int32 {
		response, err := clients[n%len(clients)].Check(t.Context(), check("/users", token))
		if err != nil {
			t.Error(err)
		}
		return int32(response.GetDeniedResponse().GetStatus().GetCode())
	}
	known := idp.Mint(nil, nil)
	if got := status(0, known); got != 0 {
		t.Fatalf("before: %d", got)
	}
	var shed, done atomic.Bool
	var load sync.WaitGroup
	for n := range 500 {
		load.Go(func() {
			for i := 0; !done.Load(); i++ {
				switch got := status(n, fmt.Sprintf("garbage-%d-%d", n, i)); got {
				case 401:
				case 503:
					shed.Store(true)
					time.Sleep(10 * time.Millisecond) // as one that is told to come back does, or nearly so
				default:
					t.Errorf("garbage got %d", got)
				}
			}
		})
	}
	defer load.Wait()
	defer done.Store(true)
	eventually(t, "some are refused", shed.Load)
	if n := s.labelled(t, `scopeward_shed_total{work="validation"}`); n == 0 {
		t.Error("the metrics don't say that validations are refused")
	}
	done.Store(true)
	load.Wait()
	inRow := 0
	eventually(t, "all are served again", func() bool {
		if inRow++; status(0, fmt.Sprint("later", inRow)) != 401 || status(0, known) != 0 {
			inRow = 0
		}
		return inRow == 100
	})
}

// labelled is the value of a metric with its labels.
func (s *system) labelled(t *testing.T, name string) (value float64) {
	t.Helper()
	if _, err := fmt.Sscan(grep(s.page(t, "/metrics"), name)[len(name):], &value); err != nil {
		t.Fatal(err)
	}
	return value
}

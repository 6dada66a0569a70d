package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/pki"
	"scopeward/internal/testenv/tokentest"
)

// replicas makes an authorization cluster of Envoy's two Scopewards, whose health
// it asks for every second.
func replicas(ports []int, then func(map[string]any)) func(map[string]any) {
	return func(cluster map[string]any) {
		cluster["load_assignment"].(map[string]any)["endpoints"] = endpoints(ports...)
		cluster["health_checks"] = []any{map[string]any{
			"timeout": "1s", "interval": "1s", "no_traffic_interval": "1s", "unhealthy_threshold": 3, "healthy_threshold": 1,
			"grpc_health_check": map[string]any{"service_name": "envoy.service.auth.v3.Authorization"},
		}}
		if then != nil {
			then(cluster)
		}
	}
}

// TestRollingRestart: two replicas behind one Envoy that are restarted one after
// the other lose no request. Envoy learns by its health checks that one ends.
func TestRollingRestart(t *testing.T) {
	for _, name := range []string{"plaintext", "mutual TLS"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp, dir := tokentest.New(t), t.TempDir()
			var changes map[string]any
			var secure func(map[string]any)
			if name == "mutual TLS" {
				ca := pki.NewCA(t, "corporation")
				serverPair(t, ca).Write(t, dir, "tls")
				pki.Write(t, filepath.Join(dir, "ca.crt"), ca.PEM)
				changes, secure = mutual("."), tlsCluster(trusting([]*pki.CA{ca}, clientPair(t, ca)))
			}
			config := corpus.Configure(t, dir, "jwks", idp, changes, map[string]string{"policy.yaml": usersPolicy})
			var running []*scopeward
			var ports []int
			for range 2 {
				s := serve(t, "--config", config)
				running, ports = append(running, s), append(ports, portOf(t, s.grpc))
			}
			proxy, addresses := runEnvoy(t, newUpstream(t).Listener.Addr().String(),
				[]target{{name: "public", authz: running[0].grpc, cluster: replicas(ports, secure)}})
			healthy := func() int { return envoyStat(t, proxy, "cluster.public-scopeward.membership_healthy") }
			eventually(t, "both are healthy", func() bool { return healthy() == 2 })

			s := &system{idp: idp, url: "http://" + addresses["public"]}
			token := idp.Mint(nil, nil)
			s.want(t, "/users", token, 200)
			stop := load(t, s.url+"/users", token)
			for i, old := range running {
				if err := old.Stop(); err != nil {
					t.Error(err)
				}
				if got := healthy(); got != 1 {
					t.Errorf("%d are healthy after the end of one, want 1", got)
				}
				running[i] = serve(t, "--config", config, "--listen", fmt.Sprintf("127.0.0.1:%d", ports[i]))
				eventually(t, "the new one is healthy", func() bool { return healthy() == 2 })
			}
			for _, s := range running {
				eventually(t, "a new replica gets requests", func() bool { return strings.Contains(s.stdout.String(), `"success":true`) })
			}
			stop()
		})
	}
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

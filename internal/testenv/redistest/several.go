package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"scopeward/internal/process"
)

// MasterName is the name by which a [Sentinel] knows its master.
const MasterName = "scopeward"

// Sentinel runs a master, a replica of it and a Sentinel that watches over both.
type Sentinel struct {
	Addr            string
	Master, Replica *Server
}

// StartSentinel starts them. The Sentinel asks for the password, and the servers for none.
func StartSentinel(t testing.TB, password string) *Sentinel {
	t.Helper()
	s := &Sentinel{Master: Start(t)}
	host, port, _ := net.SplitHostPort(s.Master.Addr)
	s.Replica = Start(t, "--replicaof", host, port)
	Eventually(t, "the replica follows", func() bool {
		return strings.Contains(fmt.Sprint(s.Replica.Do("INFO", "replication")), "master_link_status:up")
	})
	path, err := Find(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if s.Addr, err = freePort(); err != nil {
		t.Fatal(err)
	}
	_, own, _ := net.SplitHostPort(s.Addr)
	file := filepath.Join(t.TempDir(), "sentinel.conf") // which it writes to
	config := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nrequirepass %s\nsentinel monitor %[4]s %[5]s %[6]s 1\nsentinel down-after-milliseconds %[4]s 500\nsentinel failover-timeout %[4]s 3000\n",
		own, filepath.Dir(file), password, MasterName, host, port)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	child, err := process.Start(process.Options{Name: "sentinel", Path: path, Args: []string{file, "--sentinel"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Stop() })
	asks := goredis.NewSentinelClient(&goredis.Options{Addr: s.Addr, Password: password, DialerRetries: 1, MaxRetries: -1})
	defer asks.Close()
	err = child.Ready(20*time.Second, func() error {
		replicas, err := asks.Replicas(context.Background(), MasterName).Result()
		if err == nil && len(replicas) != 1 {
			return fmt.Errorf("it knows %d replicas", len(replicas))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// StartCluster runs a Cluster of three nodes, and returns them once each knows all.
func StartCluster(t testing.TB) []*Server {
	t.Helper()
	const slots = 16384
	var nodes []*Server
	for i := range 3 {
		// Nodes talk at their port and 10000 more; one that has no such port begins anew.
		node := Start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
		add := []any{"CLUSTER", "ADDSLOTS"}
		for slot := i * slots / 3; slot < (i+1)*slots/3; slot++ {
			add = append(add, slot)
		}
		node.Do(add...)
		if i > 0 {
			host, port, _ := net.SplitHostPort(nodes[0].Addr)
			node.Do("CLUSTER", "MEET", host, port)
		}
		nodes = append(nodes, node)
	}
	for _, node := range nodes {
		Eventually(t, "the node knows all slots", func() bool { return strings.Contains(fmt.Sprint(node.Do("CLUSTER", "INFO")), "cluster_state:ok") })
	}
	return nodes
}

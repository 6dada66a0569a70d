package ratelimit_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"scopeward/authz/ratelimit"
	"scopeward/authz/redis"
	"scopeward/internal/testenv/redistest"
)

// TestSentinelFailover: while the master dies and its replica takes over, each request is
// answered, and in time; then the new master counts.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, "hunter2")
	client := redistest.Connect(t, "redis://"+s.Addr+"?timeout=200ms&sentinel_password=hunter2&master_name="+redistest.MasterName, redis.Options{})
	limit := ratelimit.NewShared(client, ratelimit.Options{Max: 1_000_000, Window: time.Hour})
	n := 0
	ask := func() {
		t.Helper()
		n++
		began := time.Now()
		if r := limit.Allow(context.Background(), fmt.Sprint("client ", n%10)); !r.OK {
			t.Fatalf("request %d is refused: %+v", n, r)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("request %d took %v", n, took)
		}
	}
	for range 20 {
		ask()
	}
	if len(s.Master.Keys()) != 10 {
		t.Fatal("the master does not count")
	}
	s.Master.Kill()
	redistest.Eventually(t, "the replica is the master, and counts", func() bool {
		ask()
		up, _ := client.State()
		return up && s.Replica.Do("ROLE").([]any)[0] == "master"
	})
	before := fmt.Sprint(s.Replica.Do("INFO", "commandstats"))
	ask()
	redistest.Eventually(t, "the new master is asked", func() bool {
		ask()
		return fmt.Sprint(s.Replica.Do("INFO", "commandstats")) != before && len(s.Replica.Keys()) == 10
	})
}

// TestCluster: the script of a limit and identities find their node, whichever it is.
func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.StartCluster(t)
	client := redistest.Connect(t, "redis://"+nodes[0].Addr+","+nodes[1].Addr+"?cluster=true&timeout=2s", redis.Options{})
	limit := ratelimit.NewShared(client, ratelimit.Options{Max: 2, Window: time.Hour})
	for i := range 60 {
		key := fmt.Sprint("client ", i)
		for use, want := range []bool{true, true, false} {
			if r := limit.Allow(t.Context(), key); r.OK != want {
				t.Fatalf("%s, use %d: %+v", key, use+1, r)
			}
		}
	}
	total := 0
	for i, node := range nodes {
		keys := len(node.Keys())
		if total += keys; keys == 0 {
			t.Errorf("node %d counts nothing", i+1)
		}
	}
	if total != 60 {
		t.Errorf("%d keys, want 60", total)
	}
}

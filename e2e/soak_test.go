package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"scopeward/internal/testenv/tokentest"
)

// Three tests are short as a rule and long on demand: SOAK and OUTAGE are durations, FLOOD
// is a number of tokens. With any of them the product is built as it is shipped, without
// the race detector, and the tests print tables of what it takes.
func longForm() bool {
	return os.Getenv("SOAK")+os.Getenv("OUTAGE")+os.Getenv("FLOOD")+os.Getenv("CROWD") != ""
}

// lasting is the duration of a test, which a variable of the environment may set.
func lasting(t *testing.T, variable string, short time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return short
	}
	long, err := time.ParseDuration(text)
	if err != nil || long <= 0 {
		t.Fatalf("%s is no duration: %q; say SOAK=30m", variable, text)
	}
	return long
}

// usage is what the process takes.
type usage struct{ resident, heap, goroutines, descriptors float64 }

func (s *system) usage(t *testing.T) usage {
	t.Helper()
	page := s.page(t, "/metrics")
	value := func(name string) float64 {
		m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(page)
		if m == nil {
			t.Fatalf("/metrics lacks %s", name)
		}
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	return usage{
		value("process_resident_memory_bytes") / (1 << 20), value("go_memstats_heap_alloc_bytes") / (1 << 20),
		value("go_goroutines"), value("process_open_fds"),
	}
}

// table prints a row for each step of a test, in its long form.
type table struct{ begin time.Time }

func newTable(t *testing.T) *table {
	if longForm() {
		fmt.Printf("%s\n%8s %10s %10s %8s %8s %11s %6s\n", t.Name(), "elapsed", "requests", "503", "RSS MiB", "heap MiB", "goroutines", "files")
	}
	return &table{time.Now()}
}

func (tb *table) row(requests, unavailable int64, u usage) {
	if longForm() {
		fmt.Printf("%8s %10d %10d %8.1f %8.1f %11.0f %6.0f\n", time.Since(tb.begin).Round(time.Second), requests, unavailable, u.resident, u.heap, u.goroutines, u.descriptors)
	}
}

// TestSoak: requests of every kind, while the provider fails and recovers, keys rotate and
// the policy is edited. No answer is wrong, and nothing grows: memory, goroutines, files.
func TestSoak(t *testing.T) {
	t.Parallel()
	length := lasting(t, "SOAK", 2*time.Second)
	s := start(t, "jwks+profile", map[string]any{
		"rate_limit": map[string]any{"count": "off"}, "cache": map[string]any{"ttl": "24h", "max_entries": 1000},
	})
	life := map[string]any{"exp": time.Now().Add(48 * time.Hour).Unix()}
	known, poor := s.idp.Mint(life, nil), s.idp.Mint(map[string]any{"exp": life["exp"], "sub": "poor", "scope": "none"}, nil)
	s.want(t, "/users", known, 200)
	s.want(t, "/users", poor, 403)

	var requests, unavailable atomic.Int64
	ask := func(path, token string, allowed ...int) {
		status, header := s.status(t, path, token)
		requests.Add(1)
		if status == 503 {
			unavailable.Add(1)
			if header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
		}
		for _, want := range allowed {
			if status == want {
				return
			}
		}
		t.Errorf("%s got %d, want %v", path, status, allowed)
	}
	kinds := []func(n int64){
		func(int64) { ask("/users", known, 200) },
		func(int64) { ask("/users", known, 200) },
		func(int64) { ask("/users", poor, 403) },
		func(int64) { ask("/users", "", 401) },
		func(int64) { ask("/nowhere", known, 403) },
		func(int64) { ask("/a//b", known, 400) },
		func(n int64) { ask("/users", fmt.Sprint("garbage", n), 401) },
		func(n int64) { ask("/users", s.user(fmt.Sprint("user", n)), 200, 503) },
	}
	var done atomic.Bool
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for !done.Load() {
				kinds[rand.IntN(len(kinds))](requests.Load())
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	end := func() { done.Store(true); clients.Wait() }
	defer end()

	const steps = 30
	tb := newTable(t)
	var first, last usage
	for step := range steps {
		s.disturb(t, step)
		time.Sleep(length / steps)
		last = s.usage(t)
		if step == steps/3 {
			first = last
		}
		tb.row(requests.Load(), unavailable.Load(), last)
	}
	end()
	s.idp.Fail("", "")
	if requests.Load() < 100 {
		t.Errorf("%d requests only", requests.Load())
	}
	if last.resident > 1.5*first.resident+32 {
		t.Errorf("the process has grown from %.0f to %.0f MiB", first.resident, last.resident)
	}
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "no goroutine and no file is left over", func() bool {
		u := s.usage(t)
		return u.goroutines < first.goroutines+30 && u.descriptors < first.descriptors+30
	})
}

// disturb changes what is around the service.
func (s *system) disturb(t *testing.T, step int) {
	t.Helper()
	faults := []tokentest.Fault{"", tokentest.Error, "", tokentest.Down, "", tokentest.TooMany, "", tokentest.HTML, "", tokentest.Truncated}
	s.idp.Fail(tokentest.ProfilePath, faults[step%len(faults)])
	policy := usersPolicy + fmt.Sprintf("  - match: /version/%d\n", step)
	if step%5 == 4 {
		policy = strings.Replace(policy, "scopes", "scops", 1)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "policies", "policy.yaml"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.Pid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if step == 10 {
		s.idp.Rotate() // the old key stays published: known tokens go on
	}
}

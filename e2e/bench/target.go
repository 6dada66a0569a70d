package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"scopeward/internal/envoyrun"
	"scopeward/internal/process"
)

// target is a server that is measured, behind an Envoy of its own.
type target struct {
	name   string
	url    string
	grpc   string // host:port of the server itself
	server *process.Process
	rounds []result
}

// start starts the servers and their Envoys. stop ends what has been started, also after an error.
func start(ctx context.Context, w *workload, s settings) (targets []*target, stop func(), err error) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	stops := []func(){upstream.Close}
	stop = func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}
	path, err := envoyrun.Find(ctx, os.Stderr)
	if err != nil {
		return nil, stop, err
	}
	servers, err := commands(ctx, w, s)
	if err != nil {
		return nil, stop, err
	}
	for _, c := range servers {
		port, err := envoyrun.FreePort()
		if err != nil {
			return nil, stop, err
		}
		t := &target{name: c.name, grpc: fmt.Sprintf("127.0.0.1:%d", port)}
		args := strings.Fields(strings.NewReplacer("{port}", strconv.Itoa(port), "{jwks}", w.jwks).Replace(c.line))
		if t.server, err = process.Start(process.Options{Name: c.name, Path: args[0], Args: args[1:]}); err != nil {
			return nil, stop, err
		}
		stops = append(stops, func() { _ = t.server.Stop() })
		if err := t.listens(); err != nil {
			return nil, stop, err
		}
		config, err := envoyrun.Local(upstream.Listener.Addr().String(), t.grpc).YAML()
		if err != nil {
			return nil, stop, err
		}
		proxy, err := envoyrun.Start(ctx, envoyrun.Options{Path: path, Config: config})
		if err != nil {
			return nil, stop, err
		}
		stops = append(stops, func() { _ = proxy.Stop() })
		address, err := proxy.Address(ctx, "public")
		if err != nil {
			return nil, stop, err
		}
		t.url = "http://" + address + "/users"
		if err := t.decides(ctx, w.tokens[0]); err != nil {
			return nil, stop, err
		}
		targets = append(targets, t)
	}
	return targets, stop, nil
}

// command is how a server is run.
type command struct{ name, line string }

// reference is the server that the others are compared with.
const reference = "no-op"

// commands are the servers of the settings; it builds Scopeward.
func commands(ctx context.Context, w *workload, s settings) ([]command, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	binary, err := buildScopeward(ctx, w.dir)
	if err != nil {
		return nil, err
	}
	serve := func(binary string) string {
		return binary + " serve --config " + filepath.Join(w.dir, "scopeward.yaml") + " --listen 127.0.0.1:{port} --admin 127.0.0.1:0"
	}
	list := []command{{reference, self + " -noop 127.0.0.1:{port}"}, {"scopeward", serve(binary)}}
	if s.base != "" {
		old, err := buildBase(ctx, w.dir, s.base)
		if err != nil {
			return nil, err
		}
		list = append(list, command{"base", serve(old)})
	}
	for _, more := range s.servers {
		name, line, _ := strings.Cut(more, "=")
		list = append(list, command{name, line})
	}
	return list, nil
}

func buildScopeward(ctx context.Context, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "scopeward")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/scopeward").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building Scopeward: %w\n%s", err, out)
	}
	return binary, nil
}

// listens waits until the server takes connections.
func (t *target) listens() error {
	return t.server.Ready(30*time.Second, func() error {
		conn, err := net.Dial("tcp", t.grpc)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// decides makes sure that what is measured is the right answer: a good token passes, and but for the no-op server none is
// refused.
func (t *target) decides(ctx context.Context, token string) error {
	allowed := func() error { return t.answers(ctx, token, http.StatusNoContent) }
	if err := t.server.Ready(10*time.Second, allowed); err != nil {
		return fmt.Errorf("%s: a good token: %w", t.name, err)
	}
	if t.name == reference {
		return nil
	}
	return errors.Join(t.answers(ctx, "", http.StatusUnauthorized), t.answers(ctx, token[:len(token)-8], http.StatusUnauthorized))
}

func (t *target) answers(ctx context.Context, token string, want int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != want {
		return fmt.Errorf("%s answers %s, want %d", t.name, res.Status, want)
	}
	return nil
}

// measure runs a load, and adds what the server itself used.
func (t *target) measure(run func() (result, error)) (result, error) {
	before, err := cpuTime(t.server.Pid())
	if err != nil {
		return result{}, err
	}
	r, err := run()
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", t.name, err)
	}
	after, err := cpuTime(t.server.Pid())
	if err != nil {
		return result{}, err
	}
	r.cpu = float64(after-before) / float64(time.Microsecond) / float64(r.requests)
	r.rss, err = residentMiB(t.server.Pid())
	return r, err
}

// cpuTime is what a process has used, in user and kernel mode (proc_pid_stat(5), in ticks of 10 ms).
func cpuTime(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("the CPU time of a server can't be read: %w (bench needs Linux)", err)
	}
	_, after, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has no CPU time", pid)
	}
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

func residentMiB(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm has no resident size", pid)
	}
	pages, err := strconv.Atoi(fields[1])
	return float64(pages*os.Getpagesize()) / (1 << 20), err
}

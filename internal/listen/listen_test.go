package listen

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"scopeward/internal/config"
)

// onSocket is the setting, as it is read, of a service on a socket.
func onSocket(t *testing.T, mode, owner string) config.Socket {
	t.Helper()
	file := filepath.Join(t.TempDir(), "scopeward.yaml")
	socket := map[string]string{"owner": owner}
	if mode != "" {
		socket["mode"] = mode
	}
	text, err := json.Marshal(map[string]any{"listen": map[string]any{"grpc": "unix:///s", "socket": socket}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.ReadListen(config.Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	return c.Listen.Socket
}

func TestSocketModeAndOwner(t *testing.T) {
	t.Parallel()
	group := os.Getgid()
	if os.Getuid() == 0 {
		group = 54321 // root may give it to any
	}
	for mode, want := range map[string]fs.FileMode{"": 0o660, "0600": 0o600, "666": 0o666, "0777": 0o777} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := socket(onSocket(t, mode, fmt.Sprintf("%d:%d", os.Getuid(), group)), path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode %q: the socket has %o, want %o", mode, got, want)
		}
		if got := int(info.Sys().(*syscall.Stat_t).Gid); got != group {
			t.Errorf("its group is %d, want %d", got, group)
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if l.Addr().String() != path {
			t.Errorf("it is said to listen on %s", l.Addr())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		left, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(left) != 0 {
			t.Errorf("files are left behind: %v, %v", left, err)
		}
	}
}

// TestSocketIsNeverWider: whenever the socket is there, it has its mode.
func TestSocketIsNeverWider(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	var done atomic.Bool
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for !done.Load() {
			if info, err := os.Lstat(path); err == nil && info.Mode().Perm() != 0o600 {
				t.Errorf("it is there with mode %o", info.Mode().Perm())
				return
			}
		}
	})
	for range 200 {
		l, err := socket(onSocket(t, "0600", ""), path)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	done.Store(true)
	watcher.Wait()
}

// stale leaves a socket behind on which nobody listens.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

// TestStaleSocket: of many that replace it at the same time, one does.
func TestStaleSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	for range 20 {
		stale(t, path)
		var opened atomic.Int32
		var all, start sync.WaitGroup
		start.Add(1)
		for range 8 {
			all.Go(func() {
				start.Wait()
				l, err := socket(config.Socket{Mode: 0o660}, path)
				switch {
				case err == nil:
					opened.Add(1)
					t.Cleanup(func() { l.Close() })
				case !strings.Contains(err.Error(), "is in use by another process"):
					t.Error(err)
				}
			})
		}
		start.Done()
		all.Wait()
		if n := opened.Load(); n != 1 {
			t.Fatalf("%d listen on the same socket, want 1", n)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSocketOfAnother: closing removes the socket only while it is its own.
func TestSocketOfAnother(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	first, err := socket(config.Socket{Mode: 0o660}, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := socket(config.Socket{Mode: 0o660}, path)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the first has removed the socket of the second: %v", err)
	}
	second.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the second has left its socket behind")
	}
}

func TestSocketErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		socket     config.Socket
		path, says string
	}{
		"a missing folder":    {config.Socket{Mode: 0o660}, dir + "/none/s", "the folder " + dir + "/none of the socket does not exist; make it (mkdir -p " + dir + "/none;"},
		"a file as folder":    {config.Socket{Mode: 0o660}, file + "/s", "does not exist; make it"},
		"a file as socket":    {config.Socket{Mode: 0o660}, file, "exists and is no socket"},
		"a folder as socket":  {config.Socket{Mode: 0o660}, dir, "exists and is no socket"},
		"a folder of no user": {config.Socket{Mode: 0o660}, "/proc/s", "the folder /proc of the socket can't be written to: "},
		"an unknown user":     {onSocket(t, "", "no-such-user"), dir + "/u", `there is no user "no-such-user" here; write its number`},
		"an unknown group":    {onSocket(t, "", ":no-such-group"), dir + "/g", `there is no group "no-such-group" here; write its number`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := socket(test.socket, test.path)
			if err == nil {
				l.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("it says: %v\nwant: %s", err, test.says)
			}
		})
	}
}

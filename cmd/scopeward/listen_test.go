package main

import (
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
)

func socketOf(mode, owner string) Socket {
	return Socket{Mode: located{Value: text(mode)}, Owner: located{Value: text(owner)}}
}

func TestSocketModeAndOwner(t *testing.T) {
	t.Parallel()
	group := os.Getgid()
	if os.Getuid() == 0 {
		group = 54321 // root may give it to any
	}
	for mode, want := range map[string]fs.FileMode{"": 0o660, "0600": 0o600, "666": 0o666, "0777": 0o777} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := socketOf(mode, fmt.Sprintf("%d:%d", os.Getuid(), group)).listen(path)
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
		l, err := socketOf("0600", "").listen(path)
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
				l, err := Socket{}.listen(path)
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
	first, err := Socket{}.listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := Socket{}.listen(path)
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
		socket     Socket
		path, says string
	}{
		"a missing folder":    {Socket{}, dir + "/none/s", "the folder " + dir + "/none of the socket does not exist; make it (mkdir -p " + dir + "/none;"},
		"a file as folder":    {Socket{}, file + "/s", "does not exist; make it"},
		"a file as socket":    {Socket{}, file, "exists and is no socket"},
		"a folder as socket":  {Socket{}, dir, "exists and is no socket"},
		"a folder of no user": {Socket{}, "/proc/s", "the folder /proc of the socket can't be written to: "},
		"an unknown user":     {socketOf("", "no-such-user"), dir + "/u", `there is no user "no-such-user" here; write its number`},
		"an unknown group":    {socketOf("", ":no-such-group"), dir + "/g", `there is no group "no-such-group" here; write its number`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := test.socket.listen(test.path)
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

func TestCheckSocket(t *testing.T) {
	t.Parallel()
	long := "/" + strings.Repeat("x", 99)
	for listen, want := range map[string]string{
		"{grpc: 'unix:///run/s', socket: {mode: '0666', owner: 'a:b'}}": "",
		"{grpc: 'unix:///run/s', socket: {mode: '660', owner: ':101'}}": "",
		"{grpc: 'unix:///run/s', socket: {owner: '1000'}}":              "",
		"{grpc: 'unix://" + long + "/abcdef'}":                          "", // 107 is what fits
		"{grpc: 'unix://" + long + "/abcdefg'}":                         "1:16: listen.grpc: the path of the Unix socket has 108 bytes, of which the system takes 107",
		"{grpc: 'unix://" + long + "abc/s'}":                            "has 105 bytes, of which the system takes 102",
		"{grpc: 'unix:///run/'}":                                        "1:16: listen.grpc: /run/ is a folder",
		"{grpc: 'unix:///run/s', socket: {mode: 0660}}":                 `mode must be text, not the number 0660: quote it: "0660"`,
		"{grpc: 'unix:///run/s', socket: {mode: '0888'}}":               `1:48: listen.socket.mode: "0888" is no octal mode`,
		"{grpc: 'unix:///run/s', socket: {mode: '7777'}}":               `"7777" is no octal mode`,
		"{grpc: 'unix:///run/s', socket: {mode: '0440'}}":               `with "0440" nobody can connect`,
		"{grpc: 'unix:///run/s', socket: {owner: ':'}}":                 `1:49: listen.socket.owner: ":" is not user:group, user or :group`,
		"{grpc: 'unix:///run/s', socket: {owner: ''}}":                  `"" is not user:group`,
		"{grpc: '127.0.0.1:9191', socket: {mode: '0660'}}":              "listen.socket is for a Unix socket, but listen.grpc is 127.0.0.1:9191",
		"{socket: {mode: '0660'}}":                                      "listen.socket is for a Unix socket, but listen.grpc is 127.0.0.1:9191",
	} {
		_, err := loadText(t, []byte("listen: "+listen+"\nproviders: [{name: a, issuer: 'https://a.example.com', audiences: [a]}]\npolicy: p.yaml\n"))
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: it says %s\nwant: %s", listen, got, want)
		}
	}
}

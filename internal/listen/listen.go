// Package listen opens what the service listens on: ports, and Unix sockets that at no moment
// take whom they should not.
package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"scopeward/internal/config"
)

// GRPC opens what Envoy asks.
func GRPC(c *config.Config) (l net.Listener, err error) {
	if path, ok := strings.CutPrefix(c.Listen.GRPC, "unix://"); ok {
		l, err = socket(c.Listen.Socket, path)
	} else {
		l, err = TCP(c.Listen.GRPC)
	}
	if err != nil {
		return nil, c.At("listen.grpc", err)
	}
	return l, nil
}

// TCP opens host:port.
func TCP(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another process; stop it or choose another address", address)
	case err != nil:
		return nil, fmt.Errorf("can't listen: %w", err)
	}
	return l, nil
}

// socketFile is a Unix socket that is removed when it is closed, unless another
// process has replaced it.
type socketFile struct {
	*net.UnixListener
	path string
	info fs.FileInfo
}

func (s *socketFile) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: s.path} }

func (s *socketFile) Close() error {
	err := s.UnixListener.Close()
	unlock := lockFolder(filepath.Dir(s.path))
	defer unlock()
	if info, gone := os.Lstat(s.path); gone == nil && os.SameFile(info, s.info) {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}

// socket opens the socket. It is made in a folder that nobody else can enter, and
// put in its place when it has its mode and owner: at no moment can be connected
// who shouldn't, and one that a killed process left behind is replaced at once.
func socket(s config.Socket, path string) (*socketFile, error) {
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, fmt.Errorf("the folder %s of the socket does not exist; make it (mkdir -p %[1]s; in a container, mount a volume there), or choose another path", folder)
	}
	unlock := lockFolder(folder)
	defer unlock()
	if err := replaceable(path); err != nil {
		return nil, err
	}
	private, err := privateFolder(folder)
	if err != nil {
		return nil, fmt.Errorf("the folder %s of the socket can't be written to: %w; let the user of this process write there, or choose another path", folder, Cause(err))
	}
	defer os.RemoveAll(private)
	temporary := filepath.Join(private, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: temporary})
	if err != nil {
		return nil, fmt.Errorf("can't listen on %s: %w", path, Cause(err))
	}
	listener.SetUnlinkOnClose(false) // of the name that it won't have any more
	opened := &socketFile{UnixListener: listener, path: path}
	err = protect(s, temporary)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err == nil {
		opened.info, err = os.Lstat(path)
	}
	if err != nil {
		listener.Close()
		return nil, err
	}
	return opened, nil
}

// protect gives a socket its owner and mode.
func protect(s config.Socket, path string) error {
	if s.Owner != "" {
		uid, gid, err := lookUpOwner(s.Owner)
		if err != nil {
			return err
		}
		if err := os.Chown(path, uid, gid); err != nil {
			return fmt.Errorf("listen.socket.owner: the socket can't be given to %s: %w; only root may give it to another user, and to a group only root and its members", s.Owner, Cause(err))
		}
	}
	return os.Chmod(path, s.Mode)
}

// lookUpOwner finds the numbers of user:group, user or :group; -1 stays as it is.
func lookUpOwner(owner string) (uid, gid int, err error) {
	uid, gid = -1, -1
	name, group, _ := strings.Cut(owner, ":")
	if name != "" {
		if uid, err = strconv.Atoi(name); err != nil {
			u, err := user.Lookup(name)
			if err != nil {
				return 0, 0, fmt.Errorf("listen.socket.owner: there is no user %q here; write its number", name)
			}
			uid, _ = strconv.Atoi(u.Uid) // a number, where there are Unix sockets
		}
	}
	if group != "" {
		if gid, err = strconv.Atoi(group); err != nil {
			g, err := user.LookupGroup(group)
			if err != nil {
				return 0, 0, fmt.Errorf("listen.socket.owner: there is no group %q here; write its number", group)
			}
			gid, _ = strconv.Atoi(g.Gid)
		}
	}
	return uid, gid, nil
}

// replaceable tells whether a socket may be put at a path: nothing is there, or a
// socket that a killed process left behind. One that somebody answers on, and a
// file that is no socket, stay.
func replaceable(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is no socket", path)
	}
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("%s is in use by another process; stop it or choose another path", path)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist): // or it is gone by now
		return nil
	}
	return fmt.Errorf("%s exists, and whether somebody listens on it can't be told: %w; remove it if nobody does", path, Cause(err))
}

// privateFolder makes a folder that only this process's user can enter. Its name
// is short: the path of a socket may not be long.
func privateFolder(parent string) (string, error) {
	for tries := 0; ; tries++ {
		path := filepath.Join(parent, "."+strconv.FormatUint(rand.Uint64N(1<<15), 32))
		if err := os.Mkdir(path, 0o700); err == nil || !errors.Is(err, fs.ErrExist) || tries == 100 {
			return path, err
		}
	}
}

// lockFolder keeps other Scopewards from replacing a socket in a folder at the
// same time: both could find that nobody listens. A file system that knows no
// locks goes without.
func lockFolder(path string) (unlock func()) {
	folder, err := os.Open(path)
	if err != nil {
		return func() {}
	}
	_ = syscall.Flock(int(folder.Fd()), syscall.LOCK_EX)
	return func() { folder.Close() }
}

// Cause is an error of the system without the name of what it happened to.
func Cause(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	if operation := (*net.OpError)(nil); errors.As(err, &operation) {
		return operation.Err
	}
	return err
}

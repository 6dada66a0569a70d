package config

import (
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"scopeward/internal/loopback"
	"scopeward/internal/strictyaml"
)

func (v *validator) listen(l listenSection) {
	v.grpcAddress(l.GRPC)
	v.oneOf("listen.server", l.Server, servers...)
	if l.Drain != nil && (l.Drain.Value < 0 || l.Drain.Value > 10*time.Minute) {
		v.add(l.Drain.Pos, "listen.drain must lie between 0s and 10m")
	}
	if l.MaxConnections.Value < 1 {
		v.add(l.MaxConnections.Pos, "listen.max_connections must be at least 1; an Envoy has one or two for each of its workers")
	}
	if l.StartPatience.Value < 0 || l.StartPatience.Value > 10*time.Minute {
		v.add(l.StartPatience.Pos, "listen.start_patience must lie between 0s and 10m")
	}
	if l.Socket != nil {
		v.socket(l.Socket.Value, l.Socket.Pos, string(l.GRPC.Value))
	}
	if l.TLS != nil {
		v.tls(l.TLS.Value, l.TLS.Pos)
	}
}

// admin keeps the admin listener, which asks nobody who they are, on this machine,
// unless somebody has thought of who else can reach it.
func (v *validator) admin(d *document) {
	if at := *d.Listen.Admin; at.Value != "" {
		v.address("listen.admin", at)
		if host, _, err := net.SplitHostPort(string(at.Value)); err == nil && !loopback.Is(host) && !d.Admin.AllowRemote {
			v.add(at.Pos, "listen.admin: %s can be reached from other machines, and the page there asks nobody who they are: write 127.0.0.1 instead, or set admin.allow_remote: true (--admin-allow-remote) if a firewall or network policy keeps others out", at.Value)
		}
	}
	for _, name := range d.Admin.Hosts {
		if !dnsName.MatchString(string(name.Value)) {
			v.add(name.Pos, "admin.hosts: %q is no DNS name, as in scopeward.internal.example; it has no port, and IP addresses need not be named", name.Value)
		}
	}
}

func (v *validator) grpcAddress(l located) {
	path, socket := strings.CutPrefix(string(l.Value), "unix://")
	switch {
	case !socket:
		v.address("listen.grpc", l)
	case !strings.HasPrefix(path, "/"):
		v.add(l.Pos, "listen.grpc: a Unix socket is written with three slashes, unix:///path/to.sock")
	case strings.HasSuffix(path, "/"):
		v.add(l.Pos, "listen.grpc: %s is a folder; a Unix socket needs a name in it, as in unix:///run/scopeward/authz.sock", path)
	case longestSocketPath(path) > maxSocketPath:
		v.add(l.Pos, "listen.grpc: the path of the Unix socket has %d bytes, of which the system takes %d: choose a shorter one, as in unix:///run/scopeward/authz.sock",
			len(path), maxSocketPath-longestSocketPath(path)+len(path))
	}
}

// maxSocketPath is how many bytes fit into sockaddr_un (unix(7)), whose last one is 0.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// longestSocketPath is the length of a socket's path, or of the one that it has
// while it is made.
func longestSocketPath(path string) int {
	return max(len(path), len(filepath.Dir(path))+len("/.abc/s"))
}

var (
	socketMode  = regexp.MustCompile(`^0?[0-7]{3}$`)
	socketOwner = regexp.MustCompile(`^([^:]+(:[^:]+)?|:[^:]+)$`)
)

func (v *validator) socket(s socketSection, pos strictyaml.Pos, grpc string) {
	if !strings.HasPrefix(grpc, "unix://") {
		v.add(pos, "listen.socket is for a Unix socket, but listen.grpc is %s: write grpc: unix:///path, or remove socket", grpc)
	}
	switch mode := string(s.Mode.Value); {
	case s.Mode.Pos.Line == 0:
	case !socketMode.MatchString(mode):
		v.add(s.Mode.Pos, "listen.socket.mode: %q is no octal mode, as in \"0660\"", mode)
	case s.mode()&0o222 == 0:
		v.add(s.Mode.Pos, "listen.socket.mode: with %q nobody can connect: that takes the right to write, as in \"0660\"", mode)
	}
	if s.Owner.Pos.Line > 0 && !socketOwner.MatchString(string(s.Owner.Value)) {
		v.add(s.Owner.Pos, "listen.socket.owner: %q is not user:group, user or :group", s.Owner.Value)
	}
}

func (v *validator) address(what string, l located) {
	if _, _, err := net.SplitHostPort(string(l.Value)); err != nil || strings.Contains(string(l.Value), "/") {
		v.add(l.Pos, "%s: %q is not host:port, as in 127.0.0.1:9191", what, l.Value)
	}
}

func (v *validator) tls(t tlsSection, pos strictyaml.Pos) {
	for _, file := range []struct {
		name string
		located
	}{{"cert", t.Cert}, {"key", t.Key}} {
		if file.Value == "" {
			v.add(place(file.Pos, pos), "listen.tls needs cert and key, files in PEM form; %s is missing", file.name)
		}
	}
	if t.ClientCA.Value == "" && t.ClientCA.Pos.Line > 0 {
		v.add(t.ClientCA.Pos, "listen.tls.client_ca is empty: name the file of the CAs, or remove the key to ask no certificate of clients")
	}
	if len(t.ClientNames) > 0 && t.ClientCA.Pos.Line == 0 {
		v.add(t.ClientNames[0].Pos, "listen.tls.client_names needs client_ca: without it no client is asked for a certificate")
	}
	for _, name := range t.ClientNames {
		if !isClientName(string(name.Value)) {
			v.add(name.Pos, "listen.tls.client_names: %q is neither a DNS name, as in envoy.example.com, nor a URI, as in spiffe://cluster.local/ns/default/sa/envoy; names are compared exactly, so * stands for nothing", name.Value)
		}
	}
}

// place is where something stands, or where it should.
func place(pos, otherwise strictyaml.Pos) strictyaml.Pos {
	if pos.Line == 0 {
		return otherwise
	}
	return pos
}

var dnsName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)

func isClientName(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}
	if !strings.Contains(name, ":") {
		return dnsName.MatchString(name)
	}
	u, err := url.Parse(name)
	return err == nil && u.Scheme != "" && (u.Host != "" || u.Opaque != "") && !strings.Contains(name, "*")
}

// defaultSocketMode lets the process's user and group connect, and nobody else.
const defaultSocketMode = 0o660

func (s socketSection) mode() fs.FileMode {
	mode, err := strconv.ParseUint(string(s.Mode.Value), 8, 9)
	if err != nil { // there is none: validate has refused others
		return defaultSocketMode
	}
	return fs.FileMode(mode)
}

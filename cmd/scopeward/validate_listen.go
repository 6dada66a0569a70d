package main

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"scopeward/policy/strictyaml"
)

func (v *validator) listen(l Listen) {
	v.grpcAddress(l.GRPC)
	if l.Admin.Value != "" {
		v.address("listen.admin", *l.Admin)
	}
	if l.TLS != nil {
		v.tls(l.TLS.Value, l.TLS.Pos)
	}
}

func (v *validator) grpcAddress(l located) {
	path, socket := strings.CutPrefix(string(l.Value), "unix://")
	switch {
	case !socket:
		v.address("listen.grpc", l)
	case !strings.HasPrefix(path, "/"):
		v.add(l.Pos, "listen.grpc: a Unix socket is written with three slashes, unix:///path/to.sock")
	}
}

func (v *validator) address(what string, l located) {
	if _, _, err := net.SplitHostPort(string(l.Value)); err != nil || strings.Contains(string(l.Value), "/") {
		v.add(l.Pos, "%s: %q is not host:port, as in 127.0.0.1:9191", what, l.Value)
	}
}

func (v *validator) tls(t TLS, pos strictyaml.Pos) {
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

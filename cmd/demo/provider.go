package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"scopeward/cmd/demo/idp"
	"scopeward/envoy/process"
)

// The files by which the identity provider tells the demo that it is ready. Both hold one line.
const (
	controlFile = "control" // the control port's URL, with a path that only its owner knows
	secretFile  = "secret"  // the client secret of idp.MachineClient
)

// idpCommand is the identity provider as a process of its own, so that it can be killed.
func idpCommand(ctx context.Context, args []string) error {
	flags := newFlags("demo idp")
	dir := flags.String("dir", "", "the `folder` of its state; required")
	listen := flags.String("listen", "127.0.0.1:0", "the `address` to listen on")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *dir == "" || flags.NArg() > 0 {
		return usageError{errors.New("demo idp needs --dir and takes no arguments")}
	}
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the library logs each refused request there
	server, err := idp.Serve(*dir, *listen)
	if err != nil {
		return err
	}
	defer server.Close()
	control, url, err := serveSecretly(server.Control())
	if err != nil {
		return err
	}
	defer control.Close()
	if err := writeFile(filepath.Join(*dir, secretFile), server.Secret()); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(*dir, controlFile), url); err != nil {
		return err
	}
	fmt.Printf("identity provider: %s\n", server.URL())
	<-ctx.Done()
	return nil
}

// serveSecretly serves h on a free port of loopback below a path that can't be guessed: a web page in a browser on this machine can't reach it.
func serveSecretly(h http.Handler) (server *http.Server, url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	path := "/" + rand.Text()
	server = &http.Server{Handler: http.StripPrefix(path, h), ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(l) // ends with Close
	return server, "http://" + l.Addr().String() + path, nil
}

// writeFile writes the file at once or not at all.
func writeFile(name, text string) error {
	if err := os.WriteFile(name+".new", []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// provider is the identity provider's process.
type provider struct {
	self   string // this program
	dir    string
	listen string // host:port
	url    string
	secret string
	died   func(error)

	mu         sync.Mutex
	process    *process.Process
	controlURL string
	stopping   bool
}

// start starts the process and waits until it serves.
func (p *provider) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	control := filepath.Join(p.dir, controlFile)
	if err := os.Remove(control); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	child, err := process.Start(process.Options{Name: "the identity provider", Path: p.self, Args: []string{"idp", "--dir", p.dir, "--listen", p.listen}})
	if err != nil {
		return err
	}
	err = child.Ready(15*time.Second, func() error {
		url, err := os.ReadFile(control)
		p.controlURL = strings.TrimSpace(string(url))
		return err
	})
	if err != nil {
		child.Kill()
		return err
	}
	secret, err := os.ReadFile(filepath.Join(p.dir, secretFile))
	if err != nil {
		child.Kill()
		return err
	}
	p.secret, p.process = strings.TrimSpace(string(secret)), child
	go p.watch(child)
	return nil
}

func (p *provider) watch(child *process.Process) {
	<-child.Done()
	p.mu.Lock()
	stopping := p.stopping
	p.mu.Unlock()
	if !stopping {
		p.died(child.Err())
	}
}

func (p *provider) control() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.controlURL
}

// pid is the process id.
func (p *provider) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process.Pid()
}

// dead says whether the process has ended.
func (p *provider) dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process.Err() != nil
}

func (p *provider) stop() error {
	p.mu.Lock()
	p.stopping = true
	child := p.process
	p.mu.Unlock()
	if child == nil {
		return nil
	}
	return child.Stop()
}

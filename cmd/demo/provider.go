package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
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
	"scopeward/internal/process"
)

// The files by which the identity provider tells that it is ready, and how to ask it. Each holds one line.
const (
	urlFile     = "url"     // the base of its issuers
	controlFile = "control" // the control port's URL, with a path that only its owner knows
	secretFile  = "secret"  // the client secret of idp.MachineClient
)

// idpCommand is the identity provider as a process of its own, so that it can be killed.
func idpCommand(ctx context.Context, args []string) error {
	flags := newFlags("demo idp")
	c := idp.Config{Secret: os.Getenv("DEMO_CLIENT_SECRET")}
	dirFlag(flags, &c.Dir)
	flags.StringVar(&c.Listen, "listen", "127.0.0.1:0", "the `address` to listen on")
	flags.StringVar(&c.URL, "url", "", "the `URL` under which others reach it, without a slash at the end; default: http:// and the address")
	if err := parse(flags, args); err != nil {
		return err
	}
	if c.Dir == "" || flags.NArg() > 0 {
		return usageError{errors.New("demo idp needs --dir and takes no arguments")}
	}
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the library logs each refused request there
	server, err := idp.Serve(c)
	if err != nil {
		return err
	}
	defer server.Close()
	control, url, err := serveSecretly(server.Control())
	if err != nil {
		return err
	}
	defer control.Close()
	// The control file comes last: who finds it finds the others.
	for _, file := range []struct{ name, text string }{{urlFile, server.URL()}, {secretFile, server.Secret()}, {controlFile, url}} {
		if err := writeFile(filepath.Join(c.Dir, file.name), file.text); err != nil {
			return err
		}
	}
	fmt.Printf("identity provider: %s\n", server.URL())
	<-ctx.Done()
	return nil
}

// dirFlag is where an identity provider has its state. $DEMO_DIR is for containers: who looks into one need not know the place.
func dirFlag(flags *flag.FlagSet, dir *string) {
	flags.StringVar(dir, "dir", os.Getenv("DEMO_DIR"), "the `folder` of the identity provider's state; default: $DEMO_DIR")
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
		_, err := os.Stat(control)
		return err
	})
	if err == nil {
		err = p.read()
	}
	if err != nil {
		child.Kill()
		return err
	}
	p.process = child
	go p.watch(child)
	return nil
}

// read reads how a running provider is asked.
func (p *provider) read() (err error) {
	if p.secret, err = readFile(p.dir, secretFile); err != nil {
		return err
	}
	p.controlURL, err = readFile(p.dir, controlFile)
	return err
}

func readFile(dir, name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return "", fmt.Errorf("no identity provider runs with its state in this folder: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
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

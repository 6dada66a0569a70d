package envoyrun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"scopeward/internal/process"
)

// Options says how to run an Envoy. Path and Config are required.
type Options struct {
	Path        string        // from [Find]
	Config      []byte        // a bootstrap, for instance from [Bootstrap.YAML]; it needs an admin address
	Log         io.Writer     // Envoy's log at level warning; optional
	Concurrency int           // worker threads; 2 if zero
	Timeout     time.Duration // for the start; 20 s if zero
}

// Process is a running Envoy.
type Process struct {
	*process.Process
	admin string // host:port
	dir   string
}

// Start runs Envoy and returns when it takes requests. A configuration that Envoy refuses is an error in Envoy's own words.
func Start(ctx context.Context, o Options) (_ *Process, err error) {
	dir, err := os.MkdirTemp("", "scopeward-envoy-")
	if err != nil {
		return nil, err
	}
	config, adminFile := filepath.Join(dir, "envoy.yaml"), filepath.Join(dir, "admin")
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	if err := os.WriteFile(config, o.Config, 0o600); err != nil {
		return nil, err
	}
	if o.Concurrency == 0 {
		o.Concurrency = 2
	}
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	child, err := process.Start(process.Options{Name: "envoy", Path: o.Path, Stdout: o.Log, Stderr: o.Log, Args: []string{
		"--config-path", config, "--admin-address-path", adminFile, "--disable-hot-restart", // which would leave shared memory behind
		"--log-level", "warning", "--concurrency", strconv.Itoa(o.Concurrency),
		"--file-flush-interval-msec", "100", // of access logs, which are read while it runs; 10 s by default
	}})
	if err != nil {
		return nil, err
	}
	p := &Process{Process: child, dir: dir}
	if err := child.Ready(o.Timeout, func() error { return errors.Join(ctx.Err(), p.ready(ctx, adminFile)) }); err != nil {
		child.Kill()
		return nil, explain(err, child.Tail())
	}
	return p, nil
}

// Validate has the Envoy at path check a bootstrap without running it. The error is in Envoy's own words.
func Validate(ctx context.Context, path string, config []byte) error {
	dir, err := os.MkdirTemp("", "scopeward-envoy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, path, "--mode", "validate", "--config-path", file, "--log-level", "error").CombinedOutput()
	if err != nil {
		return fmt.Errorf("envoy refuses the bootstrap: %w: %s", err, out)
	}
	return nil
}

// ready asks the admin interface, whose address Envoy writes to a file once it listens.
func (p *Process) ready(ctx context.Context, adminFile string) error {
	b, err := os.ReadFile(adminFile)
	if err != nil {
		return err
	}
	p.admin = string(b)
	_, err = p.Admin(ctx, "/ready")
	return err
}

// Admin asks Envoy's admin interface, for instance for "/config_dump" or "/stats". Another status than 200 is an error.
func (p *Process) Admin(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.AdminURL()+path, nil)
	if err != nil {
		return nil, err
	}
	// No shared transport: a proxy from the environment or a connection kept open has no place here.
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("the admin interface of Envoy answered %s to %s", res.Status, path)
	}
	return body, err
}

// AdminURL is the admin interface's address, without a slash at the end.
func (p *Process) AdminURL() string { return "http://" + p.admin }

// Address returns host:port of the listener with this name ("public" in minimal.yaml).
func (p *Process) Address(ctx context.Context, listener string) (string, error) {
	body, err := p.Admin(ctx, "/listeners?format=json")
	if err != nil {
		return "", err
	}
	var answer struct {
		Listeners []struct {
			Name    string `json:"name"`
			Address struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("reading /listeners of Envoy: %w", err)
	}
	for _, l := range answer.Listeners {
		if l.Name == listener {
			return net.JoinHostPort(l.Address.Socket.Address, strconv.Itoa(l.Address.Socket.Port)), nil
		}
	}
	return "", fmt.Errorf("no listener of Envoy is named %q", listener)
}

// Stop ends Envoy and removes its files.
func (p *Process) Stop() error {
	err := p.Process.Stop()
	if rm := os.RemoveAll(p.dir); err == nil {
		err = rm
	}
	return err
}

// logPrefix is what stands before the message in Envoy's log: [time][thread][level][logger] [file:line]
var logPrefix = regexp.MustCompile(`^\s*\[[^\]]*\]\[\d+\]\[(critical|error)\]\[\w+\] \[[^\]]*\] `)

// explain prefers Envoy's own message to the end of its log.
func explain(err error, tail string) error {
	for line := range strings.SplitSeq(tail, "\n") {
		if logPrefix.MatchString(line) {
			return fmt.Errorf("envoy did not start: %s", logPrefix.ReplaceAllString(line, ""))
		}
	}
	return err
}

package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"

	"scopeward/cmd/demo/idp"
	"scopeward/internal/envoyrun"
	"scopeward/internal/process"
)

//go:embed policy.yaml
var policyFile []byte

//go:embed scopeward.yaml.tmpl
var configTemplate string

const defaultPort = 8080

type options struct {
	self      string // this program
	scopeward string
	port      int // 0: the default, or a free one

	through         string // the URL of another Envoy, which asks Scopeward and finds the upstream at these addresses; or none
	authz, upstream string
}

// demo is everything that runs.
type demo struct {
	screen *screen
	name   string // how the person called this program
	dir    string
	base   string // Envoy's URL

	provider  *provider
	program   string // Scopeward's
	scopeward *process.Process
	grpc      string // Scopeward's listeners, host:port
	admin     string
	envoy     *envoyrun.Process // nil with another Envoy
	tokens    tokens
	spare     atomic.Pointer[string] // a token that was never used, for when the provider is broken
	started   atomic.Bool
	shown     int // decisions; of the goroutine that reads Scopeward's output

	cleanups []func() // run in reverse
}

// run starts everything, prints what to try, and stays until ctx ends or a part fails. It leaves nothing behind.
func run(ctx context.Context, o options, s *screen) (err error) {
	start := time.Now()
	d := &demo{screen: s, name: os.Args[0]}
	defer d.end()
	command, err := d.start(ctx, o)
	if ctx.Err() != nil {
		return nil // told to end while it started
	}
	if err != nil {
		return err
	}
	d.introduce(command, time.Since(start))
	d.started.Store(true)
	return d.wait(ctx)
}

// start starts everything and returns the command that controls the identity provider.
func (d *demo) start(ctx context.Context, o options) (command string, err error) {
	if o.through != "" {
		return d.startThrough(ctx, o)
	}
	port, err := d.choosePort(o.port)
	if err != nil {
		return "", err
	}
	if d.grpc, err = freeLoopback(); err != nil {
		return "", err
	}
	var binary string
	group, starting := errgroup.WithContext(ctx)
	group.Go(func() (err error) { // the longest wait on a fresh machine, so beside all the rest
		binary, err = envoyrun.Find(starting, d.screen)
		return err
	})
	group.Go(func() error { return d.startServices(starting, o) })
	if err := group.Wait(); err != nil {
		return "", err
	}
	if err := d.startEnvoy(ctx, binary, port); err != nil {
		return "", err
	}
	return d.control(ctx)
}

// startThrough starts what stands behind another Envoy.
func (d *demo) startThrough(ctx context.Context, o options) (command string, err error) {
	d.grpc, d.base = o.authz, strings.TrimRight(o.through, "/")
	if err := d.startServices(ctx, o); err != nil {
		return "", err
	}
	if _, err := d.startUpstream(o.upstream); err != nil {
		return "", err
	}
	return d.control(ctx)
}

func (d *demo) control(ctx context.Context) (command string, err error) {
	command, remove, err := d.publishControl(ctx, d.name)
	if err == nil {
		d.cleanup(remove)
	}
	return command, err
}

func freeLoopback() (string, error) {
	port, err := envoyrun.FreePort()
	return loopback(port), err
}

func (d *demo) cleanup(f func()) { d.cleanups = append(d.cleanups, f) }

// end stops what was started, the last first.
func (d *demo) end() {
	if d.started.Load() {
		d.screen.say("\nEnding ...")
	}
	for i := len(d.cleanups) - 1; i >= 0; i-- {
		d.cleanups[i]()
	}
}

// stopper makes a cleanup of a Stop method.
func (d *demo) stopper(stop func() error) func() {
	return func() {
		if err := stop(); err != nil {
			d.screen.say("demo: %v", err)
		}
	}
}

func (d *demo) startServices(ctx context.Context, o options) (err error) {
	if d.dir, err = os.MkdirTemp("", "scopeward-demo-"); err != nil {
		return err
	}
	d.cleanup(func() { os.RemoveAll(d.dir) })
	if err := d.startProvider(o.self); err != nil {
		return err
	}
	if err := d.startScopeward(ctx, o.scopeward); err != nil {
		return err
	}
	d.tokens, err = getTokens(ctx, d.provider)
	if err != nil {
		return err
	}
	d.spare.Store(&d.tokens.spare)
	return d.saveTokens()
}

// newToken is the file with a token that was never used, for when the provider is broken.
const newToken = "NEW"

func (d *demo) tokenFile(name string) string { return filepath.Join(d.dir, "tokens", name) }

func (d *demo) saveToken(name, token string) error {
	return os.WriteFile(d.tokenFile(name), []byte(token+"\n"), 0o600)
}

// saveTokens writes a file for each token, and one, "all", that a shell reads.
func (d *demo) saveTokens() error {
	err := os.Mkdir(filepath.Dir(d.tokenFile("all")), 0o700)
	all := d.tokens.variables()
	for _, v := range all {
		err = errors.Join(err, d.saveToken(v.name, v.token))
	}
	return errors.Join(err, d.saveToken("all", exports(all)))
}

func (d *demo) startProvider(self string) error {
	listen, err := freeLoopback()
	if err != nil {
		return err
	}
	dir := filepath.Join(d.dir, "provider")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	d.provider = &provider{self: self, dir: dir, listen: listen, url: "http://" + listen, died: func(err error) {
		d.screen.say("%s\nStart it again with: %s provider up", d.screen.paint(red, err.Error()), d.name)
	}}
	d.cleanup(d.stopper(d.provider.stop))
	return d.provider.start()
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// scopewardConfig fills scopeward.yaml.tmpl.
type scopewardConfig struct{ GRPC, Admin, Provider, Audience, ClientID string }

func (d *demo) startScopeward(ctx context.Context, path string) (err error) {
	if d.admin, err = freeLoopback(); err != nil {
		return err
	}
	var config bytes.Buffer
	values := scopewardConfig{d.grpc, d.admin, d.provider.url, idp.Audience, idp.MachineClient}
	if err := template.Must(template.New("").Parse(configTemplate)).Execute(&config, values); err != nil {
		return err
	}
	for name, content := range map[string][]byte{"scopeward.yaml": config.Bytes(), "policy.yaml": policyFile, "introspection.secret": []byte(d.provider.secret)} {
		if err := os.WriteFile(filepath.Join(d.dir, name), content, 0o600); err != nil {
			return err
		}
	}
	d.program = path
	d.scopeward, err = process.Start(process.Options{
		Name: "scopeward", Path: path, Args: []string{"serve", "--config", filepath.Join(d.dir, "scopeward.yaml")},
		Stdout: &lines{each: d.decision},
		Stderr: &lines{each: func(line []byte) { d.screen.logLine(line, d.started.Load()) }},
	})
	if err != nil {
		return err
	}
	d.cleanup(d.stopper(d.scopeward.Stop))
	return d.scopeward.Ready(15*time.Second, func() error { return errors.Join(ctx.Err(), ready(ctx, "http://"+d.admin+"/readyz")) })
}

// remindEvery is how many decisions scroll by before the next reminder: less than a screen.
const remindEvery = 20

// decision shows one line of Scopeward's standard output.
func (d *demo) decision(line []byte) {
	d.screen.decision(line)
	if d.shown++; d.shown%remindEvery == 0 {
		d.screen.say("%s", d.screen.paint(bold, d.reminder()))
	}
}

// ready wants the status 200 of a URL.
func ready(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s says %s", url, res.Status)
	}
	return nil
}

func (d *demo) startEnvoy(ctx context.Context, binary string, port int) error {
	address, err := d.startUpstream("127.0.0.1:0")
	if err != nil {
		return err
	}
	config, err := envoyrun.Bootstrap{Listen: loopback(port), Admin: "127.0.0.1:0", Upstream: address, Authz: d.grpc}.YAML()
	if err != nil {
		return err
	}
	if d.envoy, err = envoyrun.Start(ctx, envoyrun.Options{Path: binary, Config: config}); err != nil {
		return err
	}
	d.cleanup(d.stopper(d.envoy.Stop))
	d.base = "http://" + loopback(port)
	return nil
}

func (d *demo) startUpstream(listen string) (address string, err error) {
	address, server, err := serveUpstream(listen)
	if err == nil {
		d.cleanup(func() { server.Close() })
	}
	return address, err
}

// choosePort returns the port asked for, or the default one, or a free one if that is taken.
func (d *demo) choosePort(asked int) (int, error) {
	want := asked
	if want == 0 {
		want = defaultPort
	}
	l, err := net.Listen("tcp", loopback(want))
	if err == nil {
		return want, l.Close()
	}
	if asked != 0 {
		return 0, fmt.Errorf("port %d is taken (%w); choose another with --port, or leave it out and the demo finds a free one", asked, err)
	}
	free, err := envoyrun.FreePort()
	if err == nil {
		d.screen.say("Port %d is taken; Envoy listens on %d instead.", defaultPort, free)
	}
	return free, err
}

func (d *demo) introduce(command string, took time.Duration) {
	s := d.screen
	title := func(text string) { s.say("\n%s\n", s.paint(bold, text)) }
	title(fmt.Sprintf("Ready after %.1f s. Paste this into another shell:", took.Seconds()))
	s.say("export API=%s TOKEN=$(cat %s)", d.base, d.tokenFile("TOKEN"))
	s.say(". %s   # the tokens of the lines below: $EXPIRED, $MACHINE, $PROFILE, $BOTH, $OPAQUE", d.tokenFile("all"))
	title("Then try these there; every decision shows up here.")
	for _, r := range requests() {
		s.say("%s\n", r.render("$API", r.bearer()))
	}
	title("Get a token of your own: allow it in your browser, and use the lines above again:")
	s.say("  TOKEN=$(%s login --issuer %s/keys --client-id %s --scope read:users)", d.program, d.provider.url, idp.DeviceClient)
	title("Edit the policy; a saved edit is live at once:")
	s.say("  %s", filepath.Join(d.dir, "policy.yaml"))
	title("Break the identity provider and mend it:")
	s.say("  %s down      its port closes: 503 for new tokens, 200 for those in the cache", command)
	s.say("  %s up        no restart needed", command)
	s.say("  %s rotate    it signs with a new key", command)
	s.say("  also: slow, 500, 429, html, drop (older keys), kill")
	title("Look around:")
	if d.envoy != nil {
		s.say("  Envoy       %s        its admin interface %s", d.base, d.envoy.AdminURL())
	}
	s.say("  Scopeward   http://%s/metrics   /readyz   /config   its configuration %s", d.admin, filepath.Join(d.dir, "scopeward.yaml"))
	s.say("  Provider    %s/keys/.well-known/openid-configuration   (process %d; device flow with client id %s)", d.provider.url, d.provider.pid(), idp.DeviceClient)
	title("Watch the decisions in your browser, with the rules and why:")
	s.say("  http://%s/", d.admin)
	s.say("\nCtrl-C ends everything and leaves nothing behind.\n")
}

// reminder is shown among the decisions, so that the page's address does not scroll away.
func (d *demo) reminder() string {
	return fmt.Sprintf("The page: http://%s/   Ctrl-C ends the demo.", d.admin)
}

// wait returns nil when ctx ends, and an error when Scopeward or Envoy ends first. The demo goes on without its identity provider.
func (d *demo) wait(ctx context.Context) error {
	var ended <-chan struct{} // another Envoy's end is not ours to see
	failure := func() error { return nil }
	if d.envoy != nil {
		ended, failure = d.envoy.Done(), d.envoy.Err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-d.scopeward.Done():
	case <-ended:
	}
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(d.scopeward.Err(), failure())
}

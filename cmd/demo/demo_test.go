package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"scopeward/internal/envoyrun"
	"scopeward/internal/process"
)

// built is the folder of the programs, with the race detector as all that is tested. It is
// filled by TestMain, before any test, and read only after that.
var built string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector would hold each process for a second at its end
	dir, err := os.MkdirTemp("", "scopeward-demo-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if out, err := exec.Command("go", "build", "-race", "-o", dir+"/", "scopeward/cmd/demo", "scopeward/cmd/scopeward").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	built = dir
	return m.Run()
}

// running is a demo in a process of its own, and what it has printed.
type running struct {
	*process.Process
	t     *testing.T
	lines chan string
	seen  []string
}

func startDemo(t *testing.T, tmp string, args ...string) *running {
	t.Helper()
	r, w := io.Pipe()
	p, err := process.Start(process.Options{Path: filepath.Join(built, "demo"), Args: args, Env: append(os.Environ(), "TMPDIR="+tmp), Stdout: w})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop() })
	d := &running{Process: p, t: t, lines: make(chan string, 10_000)}
	go func() {
		<-p.Done()
		w.Close()
	}()
	go func() {
		defer close(d.lines)
		for scanner := bufio.NewScanner(r); scanner.Scan(); {
			d.lines <- scanner.Text()
		}
	}()
	return d
}

// until reads lines up to one that matches.
func (d *running) until(pattern string) string {
	d.t.Helper()
	match := regexp.MustCompile(pattern)
	deadline := time.After(45 * time.Second)
	for {
		select {
		case line, ok := <-d.lines:
			if !ok {
				d.t.Fatalf("the demo ended before it printed %q: %v", pattern, d.Err())
			}
			d.seen = append(d.seen, line)
			if match.MatchString(line) {
				return line
			}
		case <-deadline:
			d.t.Fatalf("the demo did not print %q; it printed:\n%s", pattern, strings.Join(d.seen, "\n"))
		}
	}
}

// exported gives the lines that set variables of a shell for all that follow.
func exported(lines []string) string {
	var set []string
	for _, line := range lines {
		if strings.HasPrefix(line, "export ") || strings.HasPrefix(line, ". ") {
			set = append(set, line)
		}
	}
	return strings.Join(set, "\n")
}

// pasted is a command of the demo with the status that the comment above it promises.
type pasted struct{ status, why, command string }

var comment = regexp.MustCompile(`^# (\d{3})(?:: | if )(.+)`)

func commands(t *testing.T, lines []string) (found []pasted) {
	t.Helper()
	for i, line := range lines {
		if !strings.HasPrefix(line, "curl") {
			continue
		}
		m := comment.FindStringSubmatch(lines[i-1])
		if m == nil {
			t.Fatalf("no comment above %s: %s", line, lines[i-1])
		}
		if strings.Contains(line, "eyJ") {
			t.Errorf("a wall of a token: %s", line)
		}
		found = append(found, pasted{m[1], m[2], exported(lines) + "\n" + line})
	}
	return found
}

// paste runs a command in another shell and returns the HTTP status.
func paste(t *testing.T, command string) (status, answer string) {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "bash", "-c", command)
	shell.Env = []string{"PATH=" + os.Getenv("PATH"), "http_proxy=http://127.0.0.1:1"}
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, command, out)
	}
	_, rest, _ := strings.Cut(string(out), " ")
	return rest[:3], string(out)
}

func check(t *testing.T, c pasted) {
	t.Helper()
	if status, answer := paste(t, c.command); status != c.status {
		t.Errorf("got %s, promised %s (%s)\n%s\n%s", status, c.status, c.why, c.command, answer)
	}
}

// eventually pastes until the status is as wanted: a saved file is noticed by another process.
func eventually(t *testing.T, command, want string) {
	t.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(20 * time.Second)
	for {
		status, answer := paste(t, command)
		if status == want {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("got %s, want %s\n%s", status, want, answer)
		}
	}
}

func TestDemo(t *testing.T) {
	tmp := t.TempDir()
	d := startDemo(t, tmp)
	d.until("^Ctrl-C ends everything")
	shown := commands(t, d.seen)
	if len(shown) < 6 {
		t.Fatalf("%d commands", len(shown))
	}
	for _, c := range shown {
		check(t, c)
		mark := map[bool]string{true: "  ALLOWED  ", false: "  DENIED  "}[c.status == "200"]
		d.until(regexp.QuoteMeta(mark))
	}
	t.Run("login", func(t *testing.T) { loginAndUse(t, d, shown[0].command) })
	t.Run("policy", func(t *testing.T) { editPolicy(t, d, shown) })
	t.Run("provider", func(t *testing.T) { breakProvider(t, d) })
	t.Run("through", func(t *testing.T) { throughAnother(t, len(shown)) })

	d.Process.Stop()
	if d.ExitCode() != 0 {
		t.Errorf("exit status %d: %v", d.ExitCode(), d.Err())
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, address := range regexp.MustCompile(`127\.0\.0\.1:\d+`).FindAllString(strings.Join(d.seen, "\n"), -1) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			t.Errorf("somebody still listens on %s", address)
		}
	}
}

// loginAndUse does what a person does: a token by scopeward login, and a request with it through Envoy.
func loginAndUse(t *testing.T, d *running, withToken string) {
	var issuer string
	for _, line := range d.seen {
		if m := regexp.MustCompile(`--issuer (http\S+/keys) `).FindStringSubmatch(line); m != nil {
			issuer = m[1]
		}
	}
	check(t, pasted{"200", "a token by login", fmt.Sprintf("%s\nTOKEN=$(%s/scopeward login --issuer %s --client-id demo-auto --scope read:users 2>/dev/null)\n%s",
		exported(d.seen), built, issuer, withToken[strings.LastIndex(withToken, "\n")+1:])})
	d.until("  ALLOWED  ")
}

func editPolicy(t *testing.T, d *running, shown []pasted) {
	var path string
	for _, line := range d.seen {
		if strings.HasSuffix(line, "policy.yaml") {
			path = strings.TrimSpace(line)
		}
	}
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	save := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	withoutToken := shown[1].command
	save(strings.Replace(string(was), "scopes: [read:users]", "public: true", 1))
	eventually(t, withoutToken, "200")
	save("version: 1\nrules:\n  - match: nonsense\n")
	d.until(`policy\.yaml:3:`)
	if status, _ := paste(t, withoutToken); status != "200" {
		t.Errorf("the last good policy is gone: %s", status)
	}
	save(string(was))
	eventually(t, withoutToken, "401")
}

func breakProvider(t *testing.T, d *running) {
	var how []string // the arguments of the printed command, for another demo may run on this machine
	for _, line := range d.seen {
		if m := regexp.MustCompile(`^  \S*demo (provider .*)down  `).FindStringSubmatch(line); m != nil {
			how = strings.Fields(m[1])
		}
	}
	provider := func(action string) []pasted {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), filepath.Join(built, "demo"), append(how, action)...).CombinedOutput()
		if err != nil {
			t.Fatalf("demo provider %s: %v\n%s", action, err, out)
		}
		d.until("identity provider: " + action)
		return commands(t, strings.Split(string(out), "\n"))
	}
	for _, fault := range []string{"down", "slow", "500", "html", "429", "kill"} {
		promised := provider(fault)
		if len(promised) != 2 {
			t.Fatalf("%s: %v", fault, promised)
		}
		for _, c := range promised {
			check(t, c)
		}
		if fault == "kill" {
			d.until("the identity provider ended .signal: killed.")
		}
		provider("up")
		eventually(t, promised[0].command, "200")
	}
	for _, c := range provider("rotate") {
		check(t, c)
	}
}

// throughAnother: the demo behind an Envoy that is not its own.
func throughAnother(t *testing.T, want int) {
	path, err := envoyrun.Find(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	authz, upstream := freeAddress(t, "127.0.0.1"), freeAddress(t, "127.0.0.1")
	config, err := envoyrun.Local(upstream, authz).YAML()
	if err != nil {
		t.Fatal(err)
	}
	other, err := envoyrun.Start(t.Context(), envoyrun.Options{Path: path, Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Stop() })
	address, err := other.Address(t.Context(), "public")
	if err != nil {
		t.Fatal(err)
	}
	d := startDemo(t, t.TempDir(), "--through", "http://"+address+"/", "--authz", authz, "--upstream", upstream)
	d.until("^Ctrl-C ends everything")
	shown := commands(t, d.seen)
	if len(shown) != want {
		t.Errorf("%d commands, want %d", len(shown), want)
	}
	for _, c := range shown {
		check(t, c)
	}
}

func TestTroubleAtTheStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := fmt.Sprint(taken.Addr().(*net.TCPAddr).Port)
	broken := filepath.Join(t.TempDir(), "scopeward")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho no such policy >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		env  string
		want string
		exit int
	}{
		{"a taken port", []string{"--port", port}, "", "port " + port + " is taken", 1},
		{"Scopeward fails", []string{"--scopeward", broken}, "", "  no such policy", 1},
		{"Scopeward is missing", []string{"--scopeward", broken + "-not"}, "", "no such file", 1},
		{"Envoy is missing", nil, "ENVOY=/does/not/exist", "$ENVOY: ", 1},
		{"an unknown flag", []string{"--prot", "1"}, "", "Usage:", 2},
		{"an unknown command", []string{"providr"}, "", `unknown command "providr"`, 2},
		{"an unknown action", []string{"provider", "explode"}, "", "takes one of: up, rotate", 2},
		{"no demo to tell", []string{"provider", "down"}, "XDG_CACHE_HOME=/does/not/exist", "no demo is running", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			tmp := t.TempDir()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // trouble is told at once
			defer cancel()
			cmd := exec.CommandContext(ctx, filepath.Join(built, "demo"), c.args...)
			cmd.Env = append(os.Environ(), "TMPDIR="+tmp, c.env)
			out, _ := cmd.CombinedOutput()
			if !strings.Contains(string(out), c.want) || cmd.ProcessState.ExitCode() != c.exit {
				t.Errorf("exit status %d, want %d, and %q in:\n%s", cmd.ProcessState.ExitCode(), c.exit, c.want, out)
			}
			if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestADeadDemoTakesItsChildrenAlong kills the demo as nothing can prepare for.
func TestADeadDemoTakesItsChildrenAlong(t *testing.T) {
	if l, err := net.Listen("tcp", "127.0.0.1:8080"); err == nil { // else it is taken already
		defer l.Close()
	}
	d := startDemo(t, t.TempDir())
	d.until("^Port 8080 is taken; Envoy listens on ")
	line := d.until(`\(process \d+`)
	var pid int
	fmt.Sscanf(line[strings.Index(line, "(process ")+len("(process "):], "%d", &pid)
	d.Kill()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(10 * time.Second)
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("process %d lives on", pid)
		}
	}
}

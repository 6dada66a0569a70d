// Package process runs a program as a child that ends with its parent, and remembers the last lines it wrote, so that an error can show them.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DefaultGrace is how long [Process.Stop] waits after SIGTERM before it kills.
const DefaultGrace = 12 * time.Second

// Options says what to run. Path is required.
type Options struct {
	Name           string // for error messages; the base name of Path if empty
	Path           string
	Args           []string // without the program's own name
	Env            []string // the parent's environment if nil
	Dir            string
	Stdout, Stderr io.Writer // optional; what the program writes is also kept for error messages
}

// Process is a started child. Its methods may be called from several goroutines.
type Process struct {
	name string
	cmd  *exec.Cmd
	tail *tail
	done chan struct{}
	err  error // written before done is closed
}

// Start starts the program. On Linux the kernel kills it if the parent dies without stopping it.
func Start(o Options) (*Process, error) {
	if o.Name == "" {
		o.Name = filepath.Base(o.Path)
	}
	p := &Process{name: o.Name, cmd: exec.Command(o.Path, o.Args...), tail: &tail{}, done: make(chan struct{})}
	p.cmd.Env, p.cmd.Dir = o.Env, o.Dir
	p.cmd.Stdout, p.cmd.Stderr = tee(o.Stdout, p.tail), tee(o.Stderr, p.tail)
	p.cmd.SysProcAttr = attributes()
	// A grandchild that inherited the pipes must not keep Wait from returning.
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s did not start: %w", o.Name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Pid is the child's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended and all that it wrote has been read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the program ended, with the last lines that it wrote. It is nil while the program runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	how := "exit status 0"
	if p.err != nil {
		how = p.err.Error()
	}
	if last := p.Tail(); last != "" {
		return fmt.Errorf("%s ended (%s); its last output:\n%s", p.name, how, last)
	}
	return fmt.Errorf("%s ended (%s) and wrote nothing", p.name, how)
}

// Tail returns the last lines that the program wrote, each indented by two spaces.
func (p *Process) Tail() string { return p.tail.String() }

// ExitCode is the program's exit status: -1 while it runs and if a signal ended it.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Kill ends the program at once, as a crash would.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// signalAgain is when SIGTERM is repeated: Linux 6.18 was seen to leave a thread of a process that had ended asleep, about once in a thousand times on a
// busy machine, until another signal came.
const signalAgain = 3 * time.Second

// Stop asks the program to end, and kills it after [DefaultGrace]. It returns when the program has ended; an error says that it had to be killed.
func (p *Process) Stop() error {
	timer := time.NewTimer(DefaultGrace)
	defer timer.Stop()
	again := time.NewTicker(signalAgain)
	defer again.Stop()
	for {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			<-p.done // it has ended already
			return nil
		}
		select {
		case <-p.done:
			return nil
		case <-timer.C:
			p.Kill()
			return fmt.Errorf("%s did not end within %s of SIGTERM and was killed", p.name, DefaultGrace)
		case <-again.C:
		}
	}
}

// Ready polls until probe returns nil. It fails when the program ends first, when timeout has passed, and when the probe's
// error is [context.Canceled]: then nobody waits any more. (A request with a canceled context may fail with the context's cause alone.)
func (p *Process) Ready(timeout time.Duration, probe func() error) error {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	last := errors.New("not asked yet")
	for {
		select {
		case <-p.done:
			return p.Err()
		case <-deadline.C:
			return fmt.Errorf("%s was not ready within %s (%w); its last output:\n%s", p.name, timeout, last, p.Tail())
		case <-poll.C:
			if last = probe(); last == nil || errors.Is(last, context.Canceled) {
				return last
			}
		}
	}
}

func tee(w io.Writer, t *tail) io.Writer {
	if w == nil {
		return t
	}
	return io.MultiWriter(t, w)
}

const tailLines, tailLineBytes = 12, 2000

// tail keeps the last lines written to it, bounded in number and length.
type tail struct {
	mu    sync.Mutex
	lines []string
	open  []byte // the line that has no newline yet
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for rest := b; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		t.open = append(t.open, line[:min(len(line), tailLineBytes-len(t.open))]...)
		if !ended {
			break
		}
		t.lines = append(t.lines, string(t.open))
		t.lines = t.lines[max(0, len(t.lines)-tailLines):]
		t.open, rest = t.open[:0], after
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.lines
	if len(t.open) > 0 {
		lines = append(lines[:len(lines):len(lines)], string(t.open))
	}
	if len(lines) == 0 {
		return ""
	}
	return "  " + strings.Join(lines, "\n  ")
}

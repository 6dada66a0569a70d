package process_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"scopeward/internal/process"
)

func shell(t *testing.T, script string) *process.Process {
	t.Helper()
	p, err := process.Start(process.Options{Name: "child", Path: "/bin/sh", Args: []string{"-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestErrShowsTheLastOutput(t *testing.T) {
	p := shell(t, "for i in $(seq 1 50); do echo line $i; done; printf 'no newline' >&2; exit 3")
	<-p.Done()
	got := p.Err().Error()
	for _, want := range []string{"child ended (exit status 3)", "  line 50", "no newline"} {
		if !strings.Contains(got, want) {
			t.Errorf("error lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "line 30\n") {
		t.Errorf("error is not bounded:\n%s", got)
	}
	if p.ExitCode() != 3 {
		t.Errorf("exit code %d, want 3", p.ExitCode())
	}
}

func TestReadyFailsWhenTheProgramEnds(t *testing.T) {
	p := shell(t, "echo cannot bind; exit 1")
	err := p.Ready(time.Minute, func() error { return errors.New("no answer") })
	if err == nil || !strings.Contains(err.Error(), "cannot bind") {
		t.Fatalf("got %v", err)
	}
}

func TestReadySaysWhatWasMissing(t *testing.T) {
	p := shell(t, "exec sleep 60")
	err := p.Ready(100*time.Millisecond, func() error { return errors.New("no answer") })
	if err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Fatalf("got %v", err)
	}
}

func TestReadyGivesUpWhenCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := shell(t, "exec sleep 60")
	if err := p.Ready(time.Minute, ctx.Err); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestStop(t *testing.T) {
	p := shell(t, "exec sleep 60")
	if p.Err() != nil {
		t.Fatalf("a running program has an error: %v", p.Err())
	}
	for range 2 { // stopping twice is fine
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if p.Err() == nil {
		t.Fatal("no error after the end")
	}
}

func TestStartSaysWhatIsMissing(t *testing.T) {
	if _, err := process.Start(process.Options{Path: "/does/not/exist"}); err == nil || !strings.Contains(err.Error(), "exist did not start") {
		t.Fatalf("got %v", err)
	}
}

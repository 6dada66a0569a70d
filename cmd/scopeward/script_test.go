package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"scopeward/cmd/demo/idp"
)

func TestMain(m *testing.M) {
	// The race detector would hold each of many short processes for a second at
	// its end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"scopeward": main})
}

// TestScripts runs the real main. The scripts know these commands more:
//
//	exits STATUS scopeward ARGS...   the exit status, exactly
//	busyport NAME                    sets $NAME to an address that is in use
//	provider NAME                    sets $NAME to the URL of the demo's identity provider; makes a file, expired, with a token
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":    exits,
			"busyport": busyPort,
			"provider": identityProviderOfDemo,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	status := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if status != want {
		ts.Fatalf("exit status %d, want %d", status, want)
	}
}

func busyPort(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

func identityProviderOfDemo(ts *testscript.TestScript, neg bool, args []string) {
	s, err := idp.Serve(idp.Config{Dir: ts.MkAbs("."), Listen: "127.0.0.1:0"})
	ts.Check(err)
	ts.Defer(func() { s.Close() })
	ts.Setenv(args[0], s.URL())
	expired, err := s.ExpiredToken(context.Background(), idp.Keys, []string{"read:users"})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("expired"), []byte(expired), 0o600))
}

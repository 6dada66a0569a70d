// Command demo runs a whole system on one machine: an identity provider, a service to protect, Scopeward, and a real Envoy in front.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"scopeward/internal/envoyrun"
)

const usage = `Usage:
  demo [--scopeward FILE] [--port N]      run everything until Ctrl-C
  demo --through URL                      everything but Envoy, behind another one, such as a mesh's
  demo provider ACTION                    break or mend the identity provider of the running demo
  demo idp --dir DIR --listen HOST:PORT   the identity provider alone
  demo upstream --listen HOST:PORT        the service to protect alone
  demo requests --dir DIR --base URL      curl lines for an Envoy elsewhere, with tokens of that identity provider
  demo healthcheck URL                    exit status 0 if it answers 200, for containers
  demo envoy                              get an Envoy ready and print its path
`

func main() {
	// A terminal that closes (SIGHUP) and a reader that goes away (SIGPIPE) end the demo as Ctrl-C does: in order.
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	context.AfterFunc(ctx, restore) // a second Ctrl-C ends at once
	err := command(ctx, os.Args[1:])
	var wrong usageError
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, &wrong):
		fmt.Fprintf(os.Stderr, "demo: %v\n%s", err, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

// usageError is a mistake in the command line.
type usageError struct{ error }

func command(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "idp":
			return idpCommand(ctx, args[1:])
		case "upstream":
			return upstreamCommand(ctx, args[1:])
		case "requests":
			return requestsCommand(ctx, args[1:], os.Stdout)
		case "healthcheck":
			if len(args) != 2 {
				return usageError{errors.New("demo healthcheck takes one URL")}
			}
			return ready(ctx, args[1])
		case "provider":
			return providerCommand(ctx, args[1:], os.Stdout)
		case "envoy": // so that the install can run while the rest is still being built
			path, err := envoyrun.Find(ctx, os.Stderr)
			if err == nil {
				fmt.Println(path)
			}
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o := options{self: self}
	flags := newFlags("demo")
	flags.StringVar(&o.scopeward, "scopeward", filepath.Join(filepath.Dir(self), "scopeward"), "the scopeward `program`")
	flags.IntVar(&o.port, "port", 0, "Envoy's `port`; default 8080, or a free one where that is taken")
	flags.StringVar(&o.through, "through", "", "the `URL` of another Envoy to use, instead of one of its own")
	flags.StringVar(&o.authz, "authz", "127.0.0.1:9191", "with --through, the `address` at which that Envoy asks Scopeward")
	flags.StringVar(&o.upstream, "upstream", "127.0.0.1:8000", "with --through, the `address` at which that Envoy finds the upstream")
	if err := parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("unknown command %q", flags.Arg(0))}
	}
	if o.port < 0 || o.port > 65535 {
		return usageError{fmt.Errorf("--port %d is no port", o.port)}
	}
	return run(ctx, o, newScreen(os.Stdout))
}

func newFlags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints errors, once
	return flags
}

func parse(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(usage)
		flags.SetOutput(os.Stdout)
		flags.PrintDefaults()
		return err
	}
	if err != nil {
		return usageError{err}
	}
	return nil
}

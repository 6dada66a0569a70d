// Command install gets an Envoy ready, as the demo and the tests need it, and prints its path. It needs so little that it is built in a
// moment: the install can run beside the build of all the rest.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"scopeward/envoy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	path, err := envoy.Find(ctx, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "envoy:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}

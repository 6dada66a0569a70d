package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func newHealthcheck() *cobra.Command {
	var o options
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running Scopeward whether it is well",
		Long: `healthcheck asks a running Scopeward for its health (grpc.health.v1), for containers without a
shell. Of a configuration only listen counts, so that a mistake elsewhere in the file makes no
running service unwell. An address of all interfaces (0.0.0.0, [::]) is asked on loopback.
The exit status is 0 if the service is SERVING, 1 if it is not or does not answer.`,
		Example: `  scopeward healthcheck
  scopeward healthcheck --config /etc/scopeward/scopeward.yaml
  scopeward healthcheck --addr unix:///run/scopeward/authz.sock --timeout 1s`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return &usageError{fmt.Errorf("--timeout is %s; it must be longer than 0s", timeout)}
			}
			address, err := healthAddress(o)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := askHealth(ctx, address); err != nil {
				return explainHealth(address, timeout, err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "SERVING")
			return err
		},
	}
	cmd.Flags().StringVarP(&o.config, "config", "c", "", "the configuration `file` of the service; its listen.grpc is asked")
	cmd.Flags().StringVarP(&o.listen, "addr", "a", "", "the gRPC `address`, host:port or unix:///path (default "+defaultGRPC+")")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "how long to wait for the answer")
	return cmd
}

// healthAddress is where the service of these options can be asked.
func healthAddress(o options) (string, error) {
	c := &Config{file: "--addr"}
	if o.config != "" {
		read, problems, err := readConfig(o)
		if err != nil {
			return "", err
		}
		if c = read; len(c.Providers) == 0 && len(problems) > 0 { // nothing of it could be read
			return "", problems
		}
	}
	if o.listen != "" {
		c.Listen.GRPC = located{Value: text(o.listen)}
	}
	setDefault(&c.Listen.GRPC, defaultGRPC)
	v := &validator{file: c.file}
	v.grpcAddress(c.Listen.GRPC)
	switch {
	case len(v.problems) > 0 && o.listen != "":
		return "", &usageError{v.problems}
	case len(v.problems) > 0:
		return "", v.problems
	case strings.HasSuffix(string(c.Listen.GRPC.Value), ":0"):
		return "", &usageError{errors.New("listen.grpc leaves the port to the system: tell the one that it chose by --addr")}
	}
	return reachable(string(c.Listen.GRPC.Value)), nil
}

// reachable makes of an address to listen on one to be asked: of all interfaces,
// loopback.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil { // a Unix socket
		return address
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "", err == nil && ip.Unmap() == netip.IPv4Unspecified():
		host = "127.0.0.1"
	case err == nil && ip == netip.IPv6Unspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

var errNotServing = errors.New("NOT_SERVING")

// askHealth returns nil if the service at an address is SERVING.
func askHealth(ctx context.Context, address string) error {
	target := address
	if !strings.HasPrefix(address, "unix://") {
		target = "passthrough:///" + address
	}
	conn, err := grpc.NewClient(target, grpc.WithNoProxy(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	health, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	if err == nil && health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		return errNotServing
	}
	return err
}

// explainHealth says what an error of askHealth means, and what to do.
func explainHealth(address string, timeout time.Duration, err error) error {
	switch status.Code(err) {
	case codes.Unimplemented:
		return fmt.Errorf("%s answers, but is no Scopeward: it has no gRPC health service; tell the right address by --addr or --config", address)
	case codes.DeadlineExceeded:
		return fmt.Errorf("%s did not answer within %s", address, timeout)
	case codes.Unavailable:
		reason := strings.NewReplacer("connection error: desc = ", "", "transport: Error while dialing: ", "", `"`, "").Replace(status.Convert(err).Message())
		return fmt.Errorf("%s can't be asked: %s; is scopeward serve running, and is this its listen.grpc?", address, reason)
	}
	if errors.Is(err, errNotServing) {
		return fmt.Errorf("%s is NOT_SERVING: it is starting or ending; /readyz on its admin listener says why", address)
	}
	return fmt.Errorf("%s: %w", address, err)
}

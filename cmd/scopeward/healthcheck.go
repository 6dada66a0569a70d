package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"scopeward/internal/config"
	"scopeward/internal/healthcheck"
)

func newHealthcheck() *cobra.Command {
	var o config.Options
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running Scopeward whether it is well",
		Long: `healthcheck asks a running Scopeward for its health (grpc.health.v1), for containers without a
shell. Of a configuration only listen counts, so that a mistake elsewhere in the file makes no
running service unwell. An address of all interfaces (0.0.0.0, [::]) is asked on loopback. With
listen.tls it speaks TLS; where that asks clients for a certificate, it shows the service's own.
The exit status is 0 if the service is SERVING, 1 if it is not or does not answer.`,
		Example: `  scopeward healthcheck
  scopeward healthcheck --config /etc/scopeward/scopeward.yaml
  scopeward healthcheck --addr unix:///run/scopeward/authz.sock --timeout 1s`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return &usageError{fmt.Errorf("--timeout is %s; it must be longer than 0s", timeout)}
			}
			c, err := config.ReadListen(o)
			if err != nil {
				return err
			}
			if err := healthcheck.Ask(cmd.Context(), c, timeout); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "SERVING")
			return err
		},
	}
	cmd.Flags().StringVarP(&o.File, "config", "c", "", "the configuration `file` of the service; its listen.grpc is asked, by its listen.tls")
	cmd.Flags().StringVarP(&o.GRPC, "addr", "a", "", "the gRPC `address`, host:port or unix:///path (default "+config.DefaultGRPC+")")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "how long to wait for the answer")
	return cmd
}

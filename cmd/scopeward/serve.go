package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"scopeward/authz/audit"
	"scopeward/internal/config"
	"scopeward/internal/serve"
)

func newServe() *cobra.Command {
	var o serve.Options
	var admin string
	var pretty bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the service",
		Long: `serve answers Envoy's authorization requests over gRPC until it is told to end by SIGTERM or
SIGINT. While an identity provider is down it is not ready, for at most listen.start_patience; then it
serves, and accepts that provider's tokens once it is back. A change to a policy file is live about a second
after it was written; a broken one is reported, and the last good one stays in force.

With --fallback a new process starts although its files are broken: with those of the fallback, such as a
copy of the last good version. It says so in the log, at /readyz and by scopeward_policy_reload_success, and
takes its own files as soon as they are mended.

Traces go by OTLP to OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT), as http/protobuf;
OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES and OTEL_SDK_DISABLED count, too.`,
		Example: `  scopeward serve --config scopeward.yaml
  scopeward serve --config scopeward.yaml --pretty
  KINDE_ISSUER_URL=https://acme.kinde.com KINDE_AUDIENCE=https://api.acme.dev scopeward serve --policy policy.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Fallback != "" && (o.File == "" || len(o.Policy) > 0) {
				return &usageError{errors.New("--fallback stands in for --config, which then names the policy")}
			}
			if cmd.Flags().Changed("admin") {
				o.Admin = &admin
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			o.Version, o.Stdout, o.Stderr = version(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			if pretty {
				o.View = &audit.View{Colour: coloured(o.Stdout)}
			}
			return serve.Run(ctx, o)
		},
	}
	configFlags(cmd, &o.Options)
	cmd.Flags().StringVar(&o.Fallback, "fallback", "", "the configuration `file` to start with where that of --config is broken")
	cmd.Flags().StringVar(&o.GRPC, "listen", "", "the gRPC `address`, host:port or unix:///path (default "+config.DefaultGRPC+")")
	cmd.Flags().StringVar(&admin, "admin", "", "the admin HTTP `address`; \"\" turns it off (default "+config.DefaultAdmin+")")
	cmd.Flags().BoolVar(&o.AllowRemote, "admin-allow-remote", false, "allow an admin address that other machines reach, as admin.allow_remote does")
	cmd.Flags().BoolVar(&pretty, "pretty", false, "show decisions to a person on standard output, one a line, in colour on a terminal")
	cmd.Flags().BoolVar(&o.Reflection, "reflection", false, "serve gRPC reflection, for grpcurl and the like")
	return cmd
}

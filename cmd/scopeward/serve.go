package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"scopeward/authz"
	native "scopeward/authz/transport"
	"scopeward/internal/config"
	"scopeward/internal/connlimit"
	"scopeward/internal/pace"
)

func newServe() *cobra.Command {
	var o config.Options
	var admin string
	var pretty bool
	var g grpcOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the service",
		Long: `serve answers Envoy's authorization requests over gRPC until it is told to end by SIGTERM or
SIGINT. While an identity provider is down it is not ready, for at most listen.start_patience; then it
serves, and accepts that provider's tokens once it is back. A change to a policy file is live about a second
after it was written; a broken one is reported, and the last good one stays in force.

Traces go by OTLP to OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT), as http/protobuf;
OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES and OTEL_SDK_DISABLED count, too.`,
		Example: `  scopeward serve --config scopeward.yaml
  scopeward serve --config scopeward.yaml --pretty
  KINDE_ISSUER_URL=https://acme.kinde.com KINDE_AUDIENCE=https://api.acme.dev scopeward serve --policy policy.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("admin") {
				o.Admin = &admin
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return serve(ctx, o, g, pretty, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	configFlags(cmd, &o)
	cmd.Flags().StringVar(&o.GRPC, "listen", "", "the gRPC `address`, host:port or unix:///path (default "+config.DefaultGRPC+")")
	cmd.Flags().StringVar(&admin, "admin", "", "the admin HTTP `address`; \"\" turns it off (default "+config.DefaultAdmin+")")
	cmd.Flags().BoolVar(&o.AllowRemote, "admin-allow-remote", false, "allow an admin address that other machines reach, as admin.allow_remote does")
	cmd.Flags().BoolVar(&pretty, "pretty", false, "show decisions to a person on standard output, one a line, in colour on a terminal")
	cmd.Flags().BoolVar(&g.reflection, "reflection", false, "serve gRPC reflection, for grpcurl and the like")
	cmd.Flags().BoolVar(&g.generatedCodec, "generated-codec", false, "decode requests by the generated protobuf code: slower, the same answers")
	return cmd
}

// grpcOptions are the gRPC server's.
type grpcOptions struct{ reflection, generatedCodec bool }

// serve runs the service until ctx ends.
func serve(ctx context.Context, o config.Options, g grpcOptions, pretty bool, stdout, stderr io.Writer) error {
	f, err := config.Load(o)
	if err != nil {
		return err
	}
	c := f.Config
	lines := authz.NewLineWriter(stderr, nil)
	defer lines.Close(time.Second)
	log := newLogger(c.Log, lines)
	events, err := openAudit(c, pretty, stdout, log)
	if err != nil {
		return err
	}
	defer events.close()
	s, err := newService(o, f, log, events.lines)
	if err != nil {
		return err
	}
	s.auditFile = events.file
	s.countLogLines(lines)
	traces := startTracing(ctx, log)
	defer traces.end(flushPatience)
	s.server.Trace(traces.tracer)

	listener, err := listenGRPC(c)
	if err != nil {
		return err
	}
	defer listener.Close()
	var admin net.Listener
	if c.Listen.Admin != "" {
		if admin, err = listen(c.Listen.Admin); err != nil {
			return c.At("listen.admin", err)
		}
		defer admin.Close()
	}
	return s.run(ctx, listener, admin, g)
}

// run serves until ctx ends or a part fails, then drains.
func (s *service) run(ctx context.Context, listener, admin net.Listener, o grpcOptions) error {
	health := newHealthService()
	g := s.newFront(o, health)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { pace.TuneGC(ctx, s.log); return nil })
	group.Go(func() error { pace.TuneProcs(ctx, s.procs); return nil })
	group.Go(func() error {
		pace.WatchOverload(ctx, func() int { return runtime.GOMAXPROCS(0) }, s.server.Shed)
		return nil
	})
	for _, p := range s.state.Load().providers {
		p.Start(ctx, group.Go)
	}
	for _, r := range s.state.Load().sharing.connections() {
		r.start(ctx, group.Go)
	}
	group.Go(func() error { s.watch(ctx, group.Go); return nil })
	if s.auditFile != nil {
		group.Go(func() error { s.auditFile.reopenOnHangup(ctx, s.audit.Wake); return nil })
	}
	group.Go(func() error {
		if s.waitReady(ctx) {
			health.set(healthv1.HealthCheckResponse_SERVING)
		}
		return nil
	})
	limited := s.limitConnections(listener)
	group.Go(func() error {
		if err := g.Serve(limited); !errors.Is(err, grpc.ErrServerStopped) { // told to end before it began
			return err
		}
		return nil
	})
	s.log.Info("listening", slog.String("grpc", listener.Addr().String()), slog.String("version", version()),
		slog.String("policy", s.server.Snapshot().Policy.Version()))
	var web *http.Server
	if admin != nil {
		web = s.newAdmin()
		group.Go(func() error { return ignoreClosed(web.Serve(admin)) })
		s.log.Info("listening", slog.String("admin", admin.Addr().String()))
	}
	group.Go(func() error {
		<-ctx.Done()
		s.draining.Store(true)
		s.log.Info("draining")
		s.drain(g, health)
		if web != nil {
			return web.Close()
		}
		return nil
	})
	err := group.Wait()
	for _, r := range s.state.Load().sharing.connections() {
		r.end()
	}
	s.log.Info("ended")
	return err
}

// What a client may take of a connection. An Envoy that has more requests than streams
// makes another one.
const (
	maxStreams = 1024     // at a time
	maxMessage = 4 << 20  // bytes of a CheckRequest, which may hold a request's body
	maxHeaders = 64 << 10 // bytes of a call's own metadata
)

// limitConnections bounds the connections of the gRPC listener, and counts them.
func (s *service) limitConnections(l net.Listener) net.Listener {
	limited := connlimit.New(l, s.state.Load().Config.Listen.MaxConnections, s.log)
	s.registry.MustRegister(limited)
	return limited
}

// front serves the gRPC listener: a *grpc.Server, or a *native.Server before one.
type front interface {
	Serve(net.Listener) error
	GracefulStop()
	Stop()
}

// newFront makes what listen.server names.
func (s *service) newFront(o grpcOptions, health *healthService) front {
	creds := askerCredentials{insecure.NewCredentials(), health}
	if s.tls != nil {
		creds.TransportCredentials = s.tls
	}
	g := s.newGRPC(o, creds, health)
	if s.state.Load().Config.Listen.Server != config.ServerNative {
		return g
	}
	return native.New(native.Options{
		Checks: s.server, Other: g, Credentials: creds, Log: s.log, Registerer: s.registry,
		MaxStreams: maxStreams, MaxMessage: maxMessage, MaxHeader: maxHeaders,
	})
}

// newGRPC makes the gRPC server with the authorization and health services on it.
func (s *service) newGRPC(o grpcOptions, creds credentials.TransportCredentials, health *healthService) *grpc.Server {
	options := []grpc.ServerOption{
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}), // a peer that is gone
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.Creds(creds),
		// A goroutine for each request begins with a small stack, and copies it as
		// it grows: a tenth of the time. Workers keep theirs.
		grpc.NumStreamWorkers(uint32(32 * runtime.GOMAXPROCS(0))),
	}
	var g *grpc.Server
	if o.generatedCodec {
		g = grpc.NewServer(options...)
		authv3.RegisterAuthorizationServer(g, s.server)
	} else {
		g = grpc.NewServer(append(options, authz.Codec())...)
		s.server.Register(g)
	}
	healthv1.RegisterHealthServer(g, health)
	if o.reflection {
		reflection.Register(g)
	}
	return g
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func newLogger(l config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level}
	if l.Format == "text" {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

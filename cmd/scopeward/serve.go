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
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"scopeward/authz"
)

// A process that was told to end first says so by its health, and still takes
// requests for a moment: who asks for its health must have the time to learn it.
// Requests in flight are answered; those that a slow provider holds get their 503
// when time is short, before what is still open is cut off.
const (
	lameDuck      = 300 * time.Millisecond
	answerBy      = 7 * time.Second
	drainPatience = 8 * time.Second
)

func newServe() *cobra.Command {
	var o options
	var g grpcOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the service",
		Long: `serve answers Envoy's authorization requests over gRPC until it is told to end by SIGTERM or
SIGINT. It starts even while an identity provider is down, and serves its tokens once it is back.
A change to a policy file is live at once; a broken one is reported and the last good one serves on.`,
		Example: `  scopeward serve --config scopeward.yaml
  KINDE_ISSUER_URL=https://acme.kinde.com KINDE_AUDIENCE=https://api.acme.dev scopeward serve --policy policy.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.adminSet = cmd.Flags().Changed("admin")
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return serve(ctx, o, g, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	configFlags(cmd, &o)
	cmd.Flags().StringVar(&o.listen, "listen", "", "the gRPC `address`, host:port or unix:///path (default "+defaultGRPC+")")
	cmd.Flags().StringVar(&o.admin, "admin", "", "the admin HTTP `address`; \"\" turns it off (default "+defaultAdmin+")")
	cmd.Flags().BoolVar(&g.reflection, "reflection", false, "serve gRPC reflection, for grpcurl and the like")
	cmd.Flags().BoolVar(&g.generatedCodec, "generated-codec", false, "decode requests by the generated protobuf code: slower, the same answers")
	return cmd
}

// grpcOptions are the gRPC server's.
type grpcOptions struct{ reflection, generatedCodec bool }

// serve runs the service until ctx ends.
func serve(ctx context.Context, o options, g grpcOptions, stdout, stderr io.Writer) error {
	f, err := load(o)
	if err != nil {
		return err
	}
	c := f.config
	s, err := newService(o, f, newLogger(c.Log, stderr), stdout)
	if err != nil {
		return err
	}
	defer s.audit.Close(time.Second)

	listener, err := listenGRPC(c.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	var admin net.Listener
	if c.Listen.Admin.Value != "" {
		if admin, err = listen("listen.admin", *c.Listen.Admin); err != nil {
			return err
		}
		defer admin.Close()
	}
	return s.run(ctx, listener, admin, g)
}

// run serves until ctx ends or a part fails, then drains.
func (s *service) run(ctx context.Context, listener, admin net.Listener, o grpcOptions) error {
	healthServer := health.NewServer()
	setHealth(healthServer, healthv1.HealthCheckResponse_NOT_SERVING)
	g := s.newGRPC(o)
	healthv1.RegisterHealthServer(g, healthServer)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { tuneGC(ctx, s.log); return nil })
	for _, p := range s.state.Load().providers {
		p.start(ctx, group.Go)
	}
	group.Go(func() error { return s.watch(ctx, group.Go) })
	group.Go(func() error {
		if s.waitReady(ctx) == nil {
			setHealth(healthServer, healthv1.HealthCheckResponse_SERVING)
			s.log.Info("ready")
		}
		return nil
	})
	group.Go(func() error {
		if err := g.Serve(listener); !errors.Is(err, grpc.ErrServerStopped) { // told to end before it began
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
		healthServer.Shutdown()
		s.log.Info("draining")
		s.drain(g)
		if web != nil {
			return web.Close()
		}
		return nil
	})
	err := group.Wait()
	s.log.Info("ended")
	return err
}

// newGRPC makes the gRPC server with the authorization service on it.
func (s *service) newGRPC(o grpcOptions) *grpc.Server {
	options := []grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.ConnectionTimeout(10 * time.Second),
		// A goroutine for each request begins with a small stack, and copies it as
		// it grows: a tenth of the time. Workers keep theirs.
		grpc.NumStreamWorkers(uint32(32 * runtime.GOMAXPROCS(0))),
	}
	if s.tls != nil {
		options = append(options, grpc.Creds(s.tls))
	}
	var g *grpc.Server
	if o.generatedCodec {
		g = grpc.NewServer(options...)
		authv3.RegisterAuthorizationServer(g, s.server)
	} else {
		g = grpc.NewServer(append(options, authz.Codec())...)
		s.server.Register(g)
	}
	if o.reflection {
		reflection.Register(g)
	}
	return g
}

func setHealth(h *health.Server, status healthv1.HealthCheckResponse_ServingStatus) {
	h.SetServingStatus("", status)
	h.SetServingStatus(authv3.Authorization_ServiceDesc.ServiceName, status)
}

// drain answers what is in flight, then stops; what takes too long is cut off.
func (s *service) drain(g *grpc.Server) {
	hurry := time.AfterFunc(answerBy, s.server.Hurry)
	defer hurry.Stop()
	cut := time.AfterFunc(drainPatience, g.Stop)
	defer cut.Stop()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for start := time.Now(); time.Since(start) < lameDuck || s.server.InFlight() > 0 && time.Since(start) < answerBy; {
		<-poll.C
	}
	g.GracefulStop()
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func newLogger(l Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level.Value)); err != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level}
	if l.Format.Value == "text" {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

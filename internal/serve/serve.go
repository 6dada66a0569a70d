// Package serve is the running service: its listeners, TLS, what it reads again, how it
// tells its health, and how it ends.
package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"scopeward/authz"
	"scopeward/authz/audit"
	native "scopeward/authz/transport"
	"scopeward/internal/config"
	"scopeward/internal/connlimit"
	"scopeward/internal/listen"
	"scopeward/internal/pace"
	"scopeward/internal/strictyaml"
)

// grpcOptions are the gRPC server's. The generated codec is for tests: it must give the
// same answers.
type grpcOptions struct{ reflection, generatedCodec bool }

// Options say how to serve.
type Options struct {
	config.Options
	Fallback       string // the configuration to start with where that of the options is broken; none if empty
	Version        string
	View           *audit.View // shows decisions to a person on standard output; nil without
	Reflection     bool        // serve gRPC reflection
	Stdout, Stderr io.Writer
}

// Run runs the service until ctx ends.
func Run(ctx context.Context, o Options) error {
	f, broken, err := load(o)
	if err != nil {
		return err
	}
	c := f.Config
	lines := authz.NewLineWriter(o.Stderr, nil)
	defer lines.Close(time.Second)
	log := newLogger(c.Log, lines)
	events, err := openAudit(c, o.View, o.Stdout, log)
	if err != nil {
		return err
	}
	defer events.close()
	s, err := newService(o.Options, f, log, events.lines)
	if err != nil {
		return err
	}
	s.version, s.auditFile = o.Version, events.file
	if broken != nil {
		s.startedWith(o.Fallback, broken)
	}
	s.countLogLines(lines)
	traces := startTracing(ctx, o.Version, log)
	defer traces.end(flushPatience)
	s.server.Trace(traces.tracer)

	listener, err := listen.GRPC(c)
	if err != nil {
		return err
	}
	defer listener.Close()
	var admin net.Listener
	if c.Listen.Admin != "" {
		if admin, err = listen.TCP(c.Listen.Admin); err != nil {
			return c.At("listen.admin", err)
		}
		defer admin.Close()
	}
	return s.run(ctx, listener, admin, grpcOptions{reflection: o.Reflection})
}

// brokenFiles are what keeps a process from starting with its own files.
type brokenFiles struct {
	strictyaml.Problems
	wanted []string // files that a mended configuration depends on
}

// load reads the files; where they are broken, those of the fallback instead. The error
// names the mistakes of both where both are broken.
func load(o Options) (f config.Files, broken *brokenFiles, err error) {
	f, err = config.Load(o.Options)
	var problems strictyaml.Problems
	if o.Fallback == "" || !errors.As(err, &problems) {
		return f, nil, err
	}
	broken = &brokenFiles{problems, wanted(o.Options, f)}
	f, err = config.Load(config.Options{File: o.Fallback, GRPC: o.GRPC, Admin: o.Admin, AllowRemote: o.AllowRemote})
	var more strictyaml.Problems
	if errors.As(err, &more) {
		return f, nil, append(problems, more...).Err()
	}
	return f, broken, err
}

// startedWith notes that the fallback is in force until the files are mended.
func (s *service) startedWith(fallback string, broken *brokenFiles) {
	s.log.Error("the files are broken; started with the fallback", slog.String("fallback", fallback), slog.Any("error", broken.Problems))
	s.reloads.note(broken.Problems, time.Now())
	s.wanted.Store(&broken.wanted)
}

// run serves until ctx ends or a part fails, then drains.
func (s *service) run(ctx context.Context, listener, admin net.Listener, o grpcOptions) error {
	health := newHealthService()
	g := s.newFront(o, health)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { pace.TuneGC(ctx, s.log); return nil })
	group.Go(func() error { s.sweep(ctx); return nil })
	group.Go(func() error { s.remember(ctx); return nil })
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
	s.log.Info("listening", slog.String("grpc", listener.Addr().String()), slog.String("version", s.version),
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

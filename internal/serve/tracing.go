package serve

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	flushPatience   = 2 * time.Second
	exportLogPeriod = time.Minute // at most one line of the log in that time
)

// tracing exports spans by OTLP, as the standard variables OTEL_* say
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables).
// Most are read by the SDK itself. Its zero value is off.
type tracing struct {
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider
}

// startTracing begins to trace if the environment asks for it. What can't be used is
// logged, and nothing is traced: requests must be answered all the same.
func startTracing(ctx context.Context, version string, log *slog.Logger) tracing {
	on, problem := tracingWanted()
	if problem != "" {
		log.Warn("nothing is traced: " + problem)
	}
	if !on {
		return tracing{}
	}
	reporter := &traceReporter{log: log, now: time.Now}
	otel.SetErrorHandler(reporter)
	otel.SetLogger(logr.New(traceLog{log}))
	about, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "scopeward"), attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil {
		log.Warn("some of OTEL_RESOURCE_ATTRIBUTES can't be used: write key=value, separated by commas")
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		log.Warn("nothing is traced: the OTLP exporter can't be made", slog.Any("error", err))
		return tracing{}
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	log.Info("tracing by OTLP")
	return tracing{tracer: provider.Tracer("scopeward"), provider: provider}
}

// end sends what is pending, for as long as there is patience.
func (t tracing) end(patience time.Duration) {
	if t.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}

// tracingWanted tells whether the environment asks for traces; the problem is why it
// asks in vain.
func tracingWanted() (on bool, problem string) {
	name, endpoint := otlpVariable("ENDPOINT")
	exporter := os.Getenv("OTEL_TRACES_EXPORTER")
	if endpoint == "" || exporter == "none" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false, ""
	}
	if exporter != "" && exporter != "otlp" {
		return false, "OTEL_TRACES_EXPORTER is not otlp or none, which are what there is"
	}
	if u, err := url.Parse(endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return false, name + " must be a URL such as http://otel-collector:4318"
	}
	if name, protocol := otlpVariable("PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		return false, name + " must be http/protobuf, or not set, and the endpoint the collector's for that, commonly on port 4318"
	}
	return true, ""
}

// otlpVariable is the variable of the exporter that counts for traces.
func otlpVariable(suffix string) (name, value string) {
	name = "OTEL_EXPORTER_OTLP_TRACES_" + suffix
	if value = os.Getenv(name); value != "" {
		return name, value
	}
	name = "OTEL_EXPORTER_OTLP_" + suffix
	return name, os.Getenv(name)
}

// traceReporter logs what the SDK can't do, such as reach the collector.
type traceReporter struct {
	log *slog.Logger
	now func() time.Time

	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler. What the collector answers is left out: it may
// quote the credentials that it was sent.
func (r *traceReporter) Handle(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if !r.last.IsZero() && now.Sub(r.last) < exportLogPeriod {
		return
	}
	r.last = now
	reason, _, _ := strings.Cut(err.Error(), "body: ")
	r.log.Warn("OpenTelemetry fails, spans may be lost; requests are answered all the same", slog.String("reason", reason))
}

// traceLog logs the SDK's own messages without their values: one is a malformed
// OTEL_EXPORTER_OTLP_HEADERS, which holds credentials.
type traceLog struct{ log *slog.Logger }

func (traceLog) Init(logr.RuntimeInfo)               {}
func (traceLog) Enabled(level int) bool              { return level <= 1 } // its warnings
func (l traceLog) WithValues(...any) logr.LogSink    { return l }
func (l traceLog) WithName(string) logr.LogSink      { return l }
func (l traceLog) Info(_ int, text string, _ ...any) { l.log.Warn("OpenTelemetry: " + text) }
func (l traceLog) Error(_ error, text string, _ ...any) {
	l.log.Warn("OpenTelemetry can't use a setting of OTEL_*: " + text)
}

package provider

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// beginSpan begins the span of a request, as a child of the one in ctx, and has the
// request carry it on (traceparent); without one in ctx nothing is traced. Names are
// those of OpenTelemetry's conventions for HTTP clients.
func beginSpan(ctx context.Context, req *http.Request) (context.Context, *http.Request, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsValid() {
		return ctx, req, parent // does nothing
	}
	ctx, span := parent.TracerProvider().Tracer("scopeward").Start(ctx, req.Method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", req.Method),
		attribute.String("url.full", place(req.URL)),
		attribute.String("server.address", req.URL.Hostname()),
		attribute.Int("server.port", port(req.URL)),
	))
	req = req.Clone(ctx)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header))
	return ctx, req, span
}

// endSpan ends the span by the outcome of the request. What err says holds no secret.
func endSpan(span trace.Span, resp *Response, err error, outcome string) {
	defer span.End()
	if err != nil {
		span.SetAttributes(attribute.String("error.type", outcome))
		span.SetStatus(codes.Error, err.Error())
		return
	}
	span.SetAttributes(attribute.Int("http.response.status_code", resp.Status))
	if resp.Status >= 400 {
		span.SetAttributes(attribute.String("error.type", strconv.Itoa(resp.Status)))
		span.SetStatus(codes.Error, "")
	}
}

func port(u *url.URL) int {
	if n, err := strconv.Atoi(u.Port()); err == nil {
		return n
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

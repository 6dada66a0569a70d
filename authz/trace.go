package authz

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
)

// Trace has a span made for each check, by t; nil makes none. It is called before
// the server answers.
func (s *Server) Trace(t trace.Tracer) { s.tracer = t }

// beginSpan begins the span of a check. It continues the trace of a traceparent that is
// valid.
func (s *Server) beginSpan(ctx context.Context, e *Event, traceparent string) trace.Span {
	if parent, ok := parseTraceparent(traceparent); ok {
		// What can't be parsed is left out (W3C Trace Context §3.3.1).
		parent.TraceState, _ = trace.ParseTraceState(e.request.asked.Header("tracestate"))
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(parent))
	}
	_, span := s.tracer.Start(ctx, "envoy.service.auth.v3.Authorization/Check", trace.WithSpanKind(trace.SpanKindServer))
	e.traceID = span.SpanContext().TraceID().String()
	return span
}

// endSpan ends the span of a check, and tells by it what the audit event tells, but
// for who asked.
func endSpan(span trace.Span, e *Event) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	status := 200
	if !e.reply.Allowed {
		_, denied := e.reply.Denial()
		status = int(denied)
	}
	span.SetAttributes(
		attribute.String("rpc.system", "grpc"),
		attribute.String("rpc.service", "envoy.service.auth.v3.Authorization"),
		attribute.String("rpc.method", "Check"),
		attribute.String("http.request.method", e.request.Method),
		attribute.String("url.path", e.path()),
		attribute.Int("http.response.status_code", status),
		attribute.String("scopeward.code", e.verdict.code.String()),
		attribute.String("scopeward.cache", e.cache()),
	)
	if rule := e.match.Rule(); rule != nil {
		span.SetAttributes(attribute.String("scopeward.rule", rule.Place()))
	}
	if e.result.Provider != "" {
		span.SetAttributes(attribute.String("scopeward.provider", e.result.Provider))
	}
	if status >= 500 {
		span.SetStatus(codes.Error, e.verdict.code.String())
	}
}

// callTraceparent is the traceparent of a gRPC call, "" if there is not exactly one.
func callTraceparent(ctx context.Context) string {
	if call := metadata.ValueFromIncomingContext(ctx, "traceparent"); len(call) == 1 {
		return call[0]
	}
	return ""
}

// parent gives the valid traceparent that is nearest to the check, with its trace id,
// "" if there is none: that of the request's headers, or, where that is missing or of
// the same trace, that of the gRPC call, which is Envoy's own span.
func (r *request) parent(caller string) (traceparent, id string) {
	traceparent = r.asked.Header("traceparent")
	id = traceID(traceparent)
	if of := traceID(caller); of != "" && (id == "" || of == id) {
		return caller, of
	}
	if id == "" {
		return "", ""
	}
	return traceparent, id
}

// traceID is the text of the trace id within a valid traceparent, "" of any other.
func traceID(traceparent string) string {
	if _, ok := parseTraceparent(traceparent); !ok {
		return ""
	}
	return traceparent[3:35]
}

// parseTraceparent reads the header of W3C Trace Context §3.2. Unlike the SDK's
// propagator it allocates nothing: the audit needs it of every request, also where
// nothing is traced.
func parseTraceparent(s string) (c trace.SpanContextConfig, ok bool) {
	const length = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if len(s) < length || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return c, false
	}
	// Later versions may append fields.
	version, versioned := hexByte(s[:2])
	if !versioned || version == 0xff || len(s) > length && (version == 0 || s[length] != '-') {
		return c, false
	}
	var badTrace, badSpan error
	c.TraceID, badTrace = trace.TraceIDFromHex(s[3:35])
	c.SpanID, badSpan = trace.SpanIDFromHex(s[36:52])
	flags, flagged := hexByte(s[53:55])
	c.TraceFlags, c.Remote = trace.TraceFlags(flags)&trace.FlagsSampled, true
	return c, badTrace == nil && badSpan == nil && flagged
}

// hexByte reads two lower-case digits.
func hexByte(s string) (b byte, ok bool) {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			b = b<<4 | (c - '0')
		case 'a' <= c && c <= 'f':
			b = b<<4 | (c - 'a' + 10)
		default:
			return 0, false
		}
	}
	return b, true
}

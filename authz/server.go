// Package authz answers Envoy's external authorization requests
// (envoy.service.auth.v3.Authorization/Check).
//
// The way of a request, one step a file:
//
//	CheckRequest -> request     request.go    what Envoy asked, in canonical form
//	             -> rule        policy        the one rule that matches; none denies
//	             -> credential  credential    wherever the client has it, or why there is none
//	             -> identity    token         cache, then the provider's verifier
//	             -> binding     bound.go      what a bound token asks for besides itself
//	             -> verdict     verdict.go    the rule against the identity, or an error translated
//	             -> response    response.go   the only place that builds a CheckResponse
//	             -> event       audit.go      one audit line and one set of metrics
//	             -> span        trace.go      if traces are on, around all of it
package authz

import (
	"context"
	"log/slog"
	"sync/atomic"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"go.opentelemetry.io/otel/trace"

	"scopeward/authz/answer"
	"scopeward/authz/audit"
	"scopeward/authz/credential"
	"scopeward/authz/token"
	"scopeward/authz/token/binding"
	"scopeward/policy"
)

// Snapshot is all that a decision depends on. It is immutable: a change is a
// new Snapshot, and a request sees one of them from its beginning to its end.
type Snapshot struct {
	Policy *policy.Set
	// Shadow, if set, is decided beside Policy: where it would answer
	// otherwise, that is recorded. It never affects an answer.
	Shadow *policy.Set
	// Credentials are where a request may have its credential.
	Credentials credential.Places
	// Answers are what clients get for denials, where they fit, in place of JSON.
	Answers   answer.List
	Validator *token.Validator
	Limit     Limit
	// Headers are what an allowed request carries upstream.
	Headers []Header
	// IdentityToken is who asks, signed for the service behind. Its zero value is none.
	IdentityToken IdentityToken
	// Realm goes into challenges (RFC 6750 section 3).
	Realm string
	// ResourceMetadata is the URL of the resource's metadata (RFC 9728 section 5.1) if
	// they are served elsewhere.
	ResourceMetadata string
	// Resources are documents that are answered to those who ask for them, before the
	// policy. Challenges name the one that is about the request.
	Resources []Metadata
	// Binding checks what bound tokens ask for besides themselves; nil refuses them.
	Binding *binding.Checker
	// TrustXFCC says that x-forwarded-client-cert tells of the client's certificate.
	TrustXFCC bool
	// OfferDPoP says that each challenge names DPoP, also to who doesn't use it.
	OfferDPoP bool
	// Hops says how to find the client behind proxies.
	Hops Hops
	// Sampling is which requests get an audit event.
	Sampling Sampling

	prepared []denial // by code; nil until a server has the snapshot
	hits     map[*policy.Rule]*hits
}

// Server implements authv3.AuthorizationServer.
type Server struct {
	authv3.UnimplementedAuthorizationServer
	snapshot atomic.Pointer[Snapshot]
	audit    *LineWriter
	metrics  *Metrics
	log      *slog.Logger
	recent   *audit.Recent
	tracer   trace.Tracer // nil: nothing is traced

	notices  notices
	shedding shedding
	inFlight atomic.Int64
	hurried  context.Context // ends when no request may wait for a provider any more
	hurry    context.CancelFunc
}

// NewServer returns a server that decides by the snapshot. Audit events go to
// events, or nowhere if it is nil; log is for what an operator must see.
func NewServer(s *Snapshot, events *LineWriter, metrics *Metrics, log *slog.Logger) *Server {
	server := &Server{audit: events, metrics: metrics, log: log, recent: audit.NewRecent()}
	server.hurried, server.hurry = context.WithCancel(context.Background())
	server.Swap(s)
	return server
}

// Snapshot returns what the server decides by now.
func (s *Server) Snapshot() *Snapshot { return s.snapshot.Load() }

// Swap makes the server decide by another snapshot. Requests under way end by
// the one that they began with.
func (s *Server) Swap(next *Snapshot) {
	next.prepare()
	next.countOn(s.snapshot.Load())
	s.snapshot.Store(next)
}

// Recent are the latest decisions.
func (s *Server) Recent() *audit.Recent { return s.recent }

// InFlight is the number of requests that are being answered.
func (s *Server) InFlight() int64 { return s.inFlight.Load() }

// Hurry ends all waiting for providers: those requests get 503 now. It is for a
// process that has to end.
func (s *Server) Hurry() { s.hurry() }

// Check answers one request. It never returns a gRPC error: Envoy would turn
// one into a plain 403, or into an allow under failure_mode_allow.
func (s *Server) Check(ctx context.Context, in *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	event := newEvent(callTraceparent(ctx))
	defer event.release()
	event.request.asked.Read(in)
	s.answer(ctx, event)
	return event.reply.Message(), nil
}

// answer goes the whole way of a request, and leaves the reply in the event.
func (s *Server) answer(ctx context.Context, event *Event) {
	if !s.begin(ctx, event) {
		s.resume(ctx, event)
	}
}

// begin goes the way of a request until it would have to wait for anything, and reports
// whether it came to the end. If not, resume goes on, perhaps in another goroutine.
func (s *Server) begin(ctx context.Context, event *Event) (answered bool) {
	s.inFlight.Add(1)
	event.snapshot = s.snapshot.Load()
	event.request.asked.JoinRaw()
	var parent string
	parent, event.traceID = event.request.parent(event.caller)
	if s.tracer != nil {
		event.span = s.beginSpan(ctx, event, parent)
	}
	if !s.decide(ctx, event) {
		return false
	}
	s.finish(event)
	return true
}

// resume goes the rest of the way, and waits for what it has to.
func (s *Server) resume(ctx context.Context, event *Event) {
	if event.span != nil {
		ctx = trace.ContextWithSpan(ctx, event.span)
	}
	s.authenticate(ctx, event, true)
	s.finish(event)
}

// finish makes the reply of a verdict, and records it.
func (s *Server) finish(event *Event) {
	defer s.inFlight.Add(-1)
	if event.span != nil {
		defer endSpan(event.span, event)
	}
	snapshot := event.snapshot
	event.verdict = event.verdict.enforced(event.match.Rule())
	event.shadow = s.shadow(snapshot, event)
	snapshot.respond(event)
	snapshot.hits[event.match.Rule()].note(event.verdict)
	s.record(event)
}

// decide is the request's way up to the verdict, or to where it would have to wait: then
// it returns false. It notes what it learns in the event as it goes, so that a denial is
// recorded with all that was known.
func (s *Server) decide(ctx context.Context, event *Event) (decided bool) {
	decided = true // also after a panic
	defer s.denyOnPanic(&event.verdict)

	var err error
	if err = s.hopeless(ctx); err != nil {
		event.verdict = denied(err)
		return true
	}
	if err = event.request.canonicalize(event.snapshot.Hops, &event.snapshot.Credentials); err != nil {
		event.verdict = denied(err)
		return true
	}
	event.request.Time = event.start
	s.tellUnsatisfied(event.request.unsatisfied)
	if event.snapshot.published(&event.request) != nil {
		event.verdict = verdict{code: codeMetadata}
		return true
	}
	if event.match, err = event.request.find(event.snapshot.Policy, &event.snapshot.Credentials); err != nil {
		event.verdict = denied(err)
		return true
	}
	switch event.match.Access() {
	case policy.AccessPublic:
		event.verdict = verdict{code: codeAllow}
	case policy.AccessToken:
		return s.authenticate(ctx, event, false)
	default:
		event.verdict = judged(event.match.Decide(nil))
	}
	return true
}

// authenticate finds out who asks, and judges them. It returns false if it would have to
// wait and may not.
func (s *Server) authenticate(ctx context.Context, event *Event, mayWait bool) (decided bool) {
	decided = true // also after a panic
	defer s.denyOnPanic(&event.verdict)

	identified, err := s.identify(ctx, event, mayWait)
	switch {
	case err != nil:
		event.verdict = denied(err).orNobody(event.match)
	case !identified:
		return false
	case event.credential.CrossSite(&event.request.asked):
		event.verdict = denied(ErrCrossSite)
	default:
		event.verdict = event.judge(event.match, event.result.Identity)
		return s.vouch(event, mayWait)
	}
	return true
}

// identify finds out who asks: from the credential, within the rate limit. It returns
// false without an error if it would have to wait and may not; called again, it goes on.
func (s *Server) identify(ctx context.Context, event *Event, mayWait bool) (identified bool, err error) {
	client, limit := event.request.charged(), event.snapshot.Limit // the work may outlive the request
	if limit.EveryRequest && !event.counted {
		if limit.Waits && !mayWait {
			return false, nil
		}
		event.counted = true
		if err := s.charge(ctx, limit, client); err != nil {
			return false, err
		}
	}
	event.credential, err = event.snapshot.Credentials.Find(&event.request.asked, event.snapshot.Validator.MaxBytes())
	if err != nil {
		return false, err
	}
	raw := event.credential.Raw
	// Most tokens are known; only others may meet the limit.
	if result, known, err := event.snapshot.Validator.Known(raw); known {
		if event.result = result; err != nil {
			return true, err
		}
		return s.confirm(ctx, event, mayWait)
	}
	if !mayWait {
		return false, nil
	}
	if s.shedding.validation() {
		event.result = token.Result{Cache: token.CacheNone}
		return false, s.refuse("validation")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.hurried, cancel)()
	if event.result, err = event.snapshot.Validator.Validate(ctx, raw, s.admission(limit, client)); err != nil {
		return true, err
	}
	return s.confirm(ctx, event, mayWait)
}

// judge holds the identity of the event against a rule.
func (e *Event) judge(match policy.Match, id *token.Identity) verdict {
	e.asks = policy.Identity{
		Subject: id.Subject, Email: id.Email, ClientID: id.ClientID, Issuer: id.Issuer, Provider: id.Provider, Scopes: id.Scopes,
	}
	if match.Uses("identity.claims") {
		e.asks.Claims = id.Claims()
	}
	return judged(match.Decide(&e.asks))
}

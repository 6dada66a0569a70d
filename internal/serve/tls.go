package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"

	"scopeward/internal/config"
)

// transport is the TLS of the gRPC listener: the certificates in force, for each
// new connection those of the moment.
type transport struct {
	credentials.TransportCredentials
	current atomic.Pointer[config.Certificates]
	reloads reloads
	refused *refusals
}

func newTransport(certs *config.Certificates, refused *refusals) *transport {
	t := &transport{refused: refused}
	t.current.Store(certs)
	t.TransportCredentials = credentials.NewTLS(&tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return connectionTLS(t.current.Load()), nil },
	})
	t.reloads.note(nil, time.Now())
	return t
}

// ServerHandshake lets a refused client be seen: its side of the error is far away.
func (t *transport) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secure, info, err := t.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		t.refused.note(conn.RemoteAddr(), err, time.Now())
	}
	return secure, info, err
}

// Clone gives itself: it has no state of one connection.
func (t *transport) Clone() credentials.TransportCredentials { return t }

// reload brings the files of listen.tls into force, or keeps what was last good
// and says why. It doesn't wait for the policy's files to be good: a certificate
// must not expire because of a mistake in a rule.
func (t *transport) reload(c *config.Config, log *slog.Logger, asked bool) {
	if !c.Listen.TLS {
		return // needs a restart, as reload of the files says
	}
	next, problems := c.Certificates()
	_, failed := t.reloads.last()
	t.reloads.note(problems.Err(), time.Now())
	switch {
	case len(problems) > 0:
		if asked || failed == nil || failed.Error() != problems.Error() {
			log.Error("listen.tls is broken; what was last good serves on", slog.Any("error", problems))
		}
		return
	case t.current.Load().Version != next.Version:
		t.current.Store(next)
		log.Info("the certificates were loaded, for new connections", slog.Time("expiry", expiry(next)))
	case failed != nil:
		log.Info("listen.tls is good again")
	}
}

// why says what is wrong with the certificates in force or on disk; "" if nothing is.
func (t *transport) why(now time.Time) []string {
	var reasons []string
	if end := expiry(t.current.Load()); now.After(end) {
		reasons = append(reasons, "the certificate of listen.tls in force has expired at "+end.Format(time.RFC3339))
	}
	if _, err := t.reloads.last(); err != nil {
		reasons = append(reasons, "listen.tls is broken on disk, what was last good serves on: "+err.Error())
	}
	return reasons
}

// silenceAfter is how long refused clients are only counted after one was logged: who
// can connect must not be able to fill the log.
const silenceAfter = 10 * time.Second

// refusals counts the TLS handshakes that failed, by reason, and logs some.
type refusals struct {
	log   *slog.Logger
	total *prometheus.CounterVec

	mu    sync.Mutex
	since map[string]*silence // by reason
}

// silence is what has not been logged.
type silence struct {
	until  time.Time
	others int
}

// The reasons for which a handshake fails.
const (
	refusedNoTLS         = "no_tls"
	refusedNoCertificate = "no_certificate"
	refusedUntrusted     = "untrusted"
	refusedExpired       = "expired"
	refusedUsage         = "usage"
	refusedName          = "name"
	refusedByClient      = "by_client"
	refusedAborted       = "aborted"
	refusedOther         = "other"
)

// said is what the log says of each reason.
var said = map[string]string{
	refusedNoTLS:         "a client that speaks no TLS was refused",
	refusedNoCertificate: "a client without a certificate was refused",
	refusedUntrusted:     "a client whose certificate listen.tls.client_ca doesn't vouch for was refused",
	refusedExpired:       "a client whose certificate has expired was refused",
	refusedUsage:         "a client whose certificate is not for clients was refused",
	refusedName:          "a client that listen.tls.client_names doesn't name was refused",
	refusedByClient:      "a client refuses the certificate of listen.tls",
	refusedAborted:       "a TLS handshake was broken off",
	refusedOther:         "a TLS handshake failed",
}

func newRefusals(registry prometheus.Registerer, log *slog.Logger) *refusals {
	r := &refusals{log: log, since: map[string]*silence{}, total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scopeward_tls_handshake_failures_total",
		Help: "TLS connections that did not come about, by reason: no_tls (plaintext), no_certificate, untrusted, expired, usage (not for clients), name (not in client_names), by_client (it refuses our certificate), aborted, other.",
	}, []string{"reason"})}
	registry.MustRegister(r.total)
	for reason := range said {
		r.total.WithLabelValues(reason)
		r.since[reason] = &silence{}
	}
	return r
}

// note records a handshake that failed.
func (r *refusals) note(peer net.Addr, err error, now time.Time) {
	reason := refusalReason(err)
	defer r.total.WithLabelValues(reason).Inc()
	r.mu.Lock()
	s := r.since[reason]
	if now.Before(s.until) {
		s.others++
		r.mu.Unlock()
		return
	}
	others := s.others
	*s = silence{until: now.Add(silenceAfter)}
	r.mu.Unlock()
	level := slog.LevelWarn
	if reason == refusedAborted { // a port scan, or a probe that only connects
		level = slog.LevelDebug
	}
	r.log.Log(context.Background(), level, said[reason], slog.String("reason", reason), slog.String("peer", peer.String()),
		slog.String("error", clip(err.Error())), slog.Int("others_since_the_last_line", others))
}

// clip bounds what a client can write into the log.
func clip(s string) string {
	const most = 400
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func refusalReason(err error) string {
	var (
		record    tls.RecordHeaderError
		untrusted x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		name      *wrongNameError
		operation *net.OpError
	)
	switch {
	case errors.As(err, &record):
		return refusedNoTLS
	case errors.As(err, &name):
		return refusedName
	case errors.As(err, &untrusted):
		return refusedUntrusted
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return refusedExpired
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return refusedUsage
	case errors.As(err, &invalid):
		return refusedUntrusted
	case strings.Contains(err.Error(), "didn't provide a certificate"): // crypto/tls has no type for it
		return refusedNoCertificate
	case errors.As(err, &operation) && operation.Op == "remote error": // an alert
		return refusedByClient
	case errors.Is(err, io.EOF), errors.As(err, &operation):
		return refusedAborted
	default:
		return refusedOther
	}
}

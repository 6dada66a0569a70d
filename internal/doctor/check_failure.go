package doctor

import (
	"fmt"
	"slices"
	"time"
)

// eachAuthz gives all filters by which Scopeward may be asked, with their
// manager. Those of TCP listeners have none.
func (e *subject) eachAuthz(do func(m *manager, f filter)) {
	for _, ch := range e.chains {
		for _, f := range ch.filters {
			if f.message == networkAuthz && e.services[service(f.config)] {
				do(nil, f)
			}
		}
		if ch.manager == nil {
			continue
		}
		for _, f := range ch.manager.authz {
			if !f.unseen {
				do(ch.manager, f)
			}
		}
	}
}

func failureModeAllow(e *subject, report reporter) {
	e.eachAuthz(func(_ *manager, f filter) {
		if at := f.config.get("failure_mode_allow"); at.yes() {
			report(at, "While Scopeward does not answer, every request passes, with whatever identity headers the client sent: to stop Scopeward is to open the service.",
				"failure_mode_allow: false")
		}
	})
}

func shadowMode(e *subject, report reporter) {
	e.eachAuthz(func(_ *manager, f filter) {
		if at := f.config.get("shadow_mode"); at.yes() {
			report(at, "Envoy asks Scopeward and lets pass what it denies.", "shadow_mode: false    # to try a policy, use shadow: in scopeward.yaml")
		}
	})
}

func statusOnError(e *subject, report reporter) {
	e.eachAuthz(func(m *manager, f filter) {
		at := f.config.get("status_on_error", "code")
		code, isNumber := at.number()
		if m == nil || at.text() == "ServiceUnavailable" || isNumber && code == 503 {
			return
		}
		is := at.text()
		if isNumber {
			is = fmt.Sprint(code)
		}
		if !at.exists() {
			at, is = f.config.get("status_on_error"), "403 Forbidden (Envoy's default)"
		}
		report(at, fmt.Sprintf("While Scopeward does not answer, clients are told %s: nobody can tell an outage from a policy, and clients don't come back.", is),
			"status_on_error: {code: ServiceUnavailable}")
	})
}

// timeout is how long ext_authz waits; 0 is for ever.
func timeout(f filter) (at *node, wait time.Duration) {
	at = f.config.get("grpc_service", "timeout")
	if f.config.get("http_service").exists() {
		at = f.config.get("http_service", "server_uri", "timeout")
	}
	wait, ok := at.duration()
	if !ok {
		wait = 200 * time.Millisecond // Envoy's default, measured
	}
	return at, wait
}

func timeoutShort(e *subject, report reporter) {
	provider := e.Timeout
	if provider == 0 {
		provider = 2 * time.Second // Provider.Timeout's default
	}
	e.eachAuthz(func(m *manager, f filter) {
		at, wait := timeout(f)
		if m == nil || wait == 0 || wait >= provider {
			return
		}
		is := wait.String()
		if !at.exists() {
			is += " (Envoy's default)"
		}
		report(at, fmt.Sprintf("Envoy waits %s for Scopeward, which may wait %s for the identity provider: a token that is not in the cache yet is refused although it may be good.", is, provider),
			fmt.Sprintf("timeout: %ds", int((provider+3*time.Second).Seconds())))
	})
}

func timeoutLong(e *subject, report reporter) {
	e.eachAuthz(func(m *manager, f filter) {
		if m == nil {
			return
		}
		at, wait := timeout(f)
		limit, what, where := e.patience(m, f)
		if limit == 0 || wait != 0 && wait <= limit {
			return
		}
		is := wait.String()
		if wait == 0 {
			is = "for ever"
		}
		report(at, fmt.Sprintf("Envoy may wait %s for Scopeward, longer than a client may wait for its answer: %s is %s (%s).", is, what, limit, where),
			fmt.Sprintf("timeout: %gs    # or give the client longer", min(5*time.Second, limit).Seconds()))
	})
}

// patience is the shortest time that a client of a manager is given, 0 for any, and
// what says so where. A route's timeout starts when ext_authz is done; the
// others include it.
func (e *subject) patience(m *manager, f filter) (limit time.Duration, what, where string) {
	consider := func(at *node, name string, otherwise time.Duration) {
		d, ok := at.duration()
		if !ok {
			d = otherwise
		}
		if d > 0 && (limit == 0 || d < limit) {
			limit, what, where = d, name, at.path()
			if !ok {
				where = "Envoy's default"
			}
		}
	}
	common := m.config.get("common_http_protocol_options")
	consider(m.config.get("request_timeout"), "request_timeout", 0)
	consider(m.config.get("stream_idle_timeout"), "stream_idle_timeout", 5*time.Minute)
	consider(common.get("max_stream_duration"), "max_stream_duration", 0)
	for _, l := range m.leaves {
		if l.answersItself() || l.off(f) != nil {
			continue
		}
		action := l.route.get("route")
		consider(action.get("timeout"), "the route's timeout", 15*time.Second)
		consider(action.get("idle_timeout"), "the route's idle_timeout", 0)
		consider(action.get("max_stream_duration", "max_stream_duration"), "the route's max_stream_duration", 0)
	}
	return limit, what, where
}

// neededBody looks after the body that a policy asks for.
func neededBody(e *subject, report reporter) {
	const fix = "with_request_body: {max_request_bytes: 65536, pack_as_bytes: true}"
	e.eachAuthz(func(m *manager, f filter) {
		switch at := f.config.get("with_request_body"); {
		case !at.exists() && m != nil && slices.ContainsFunc(m.leaves, func(l leaf) bool { return sendsBody(l, f) }): // to whom it is needed
		case !at.exists():
			report(f.config, "A policy asks for the body of requests (request.json), and Envoy sends none: its conditions deny.", fix)
		case at.get("allow_partial_message").yes():
			report(at.get("allow_partial_message"), "Envoy sends the beginning of larger bodies only, and a policy asks for the body (request.json): its conditions deny them.", fix)
		case !at.get("pack_as_bytes").yes():
			report(at, "Envoy replaces bytes of the body that are not UTF-8 before Scopeward sees it (request.json): the service behind gets another body.", fix)
		}
	})
}

func sendsBody(l leaf, f filter) bool {
	own := authzSettings(l.perFilter(f.name))
	return own != nil && own.get("check_settings", "with_request_body").exists()
}

func requestBody(e *subject, report reporter) {
	why := func(body *node) string {
		if body.get("allow_partial_message").yes() {
			return "Envoy holds the beginning of each request's body back until ext_authz has it. No policy that is known asks for bodies."
		}
		return "Envoy holds each request's body back until ext_authz has it, and refuses larger ones with 413 before anybody is asked. No policy that is known asks for bodies."
	}
	if e.Body {
		neededBody(e, report)
		return
	}
	e.eachAuthz(func(m *manager, f filter) {
		if at := f.config.get("with_request_body"); at.exists() {
			report(at, why(at), "remove with_request_body")
		}
		if m == nil {
			return
		}
		for _, l := range m.leaves {
			for _, s := range l.perFilter(f.name) {
				if own := authzSettings([]*node{s}); own != nil && own.get("check_settings", "with_request_body").exists() {
					at := own.get("check_settings", "with_request_body")
					report(at, why(at), "remove with_request_body")
				}
			}
		}
	})
}

package doctor

import (
	"fmt"
	"strings"
)

// clientAddress compares how many proxies Envoy and Scopeward believe to be in
// front. Scopeward starts from the peer of Envoy's connection, whatever
// Envoy makes of X-Forwarded-For (measured).
func clientAddress(e *subject, report reporter) {
	e.eachAsking(func(m *manager) {
		remote, hops := m.config.get("use_remote_address"), m.config.get("xff_num_trusted_hops")
		n, _ := hops.number()
		proxies, at := int(n), hops
		if extension := m.config.get("original_ip_detection_extensions"); extension.exists() {
			if e.TrustedHops == 0 {
				report(extension, "Envoy takes the client's address from what a proxy in front says, and Scopeward (trusted_hops: 0) takes that proxy for the client: all clients share one rate limit.",
					"rate_limit: {trusted_hops: 1}    # in scopeward.yaml: how many proxies are in front")
			}
			return
		}
		if !remote.yes() {
			proxies++ // it believes the last address in X-Forwarded-For, and with hops one further left
			at = remote
		}
		switch {
		case proxies == e.TrustedHops:
		case !remote.yes() && proxies == 1 && !inbound(m):
			report(at, "Envoy believes the X-Forwarded-For of whoever connects, so clients choose the address that Envoy logs and compares; Scopeward (trusted_hops: 0) believes the connection.",
				"use_remote_address: true    # or, behind a proxy that appends to X-Forwarded-For, trusted_hops: 1 in scopeward.yaml")
		case proxies > e.TrustedHops:
			report(at, fmt.Sprintf("Envoy believes that %s in front, and Scopeward (trusted_hops: %d) that %s: it takes a proxy for the client, so that many clients share one rate limit.", areProxies(proxies), e.TrustedHops, areProxies(e.TrustedHops)),
				fmt.Sprintf("rate_limit: {trusted_hops: %d}    # in scopeward.yaml; or %s", proxies, envoysSide(e.TrustedHops)))
		default:
			report(at, fmt.Sprintf("Envoy believes that %s in front, and Scopeward (trusted_hops: %d) that %s: if Envoy is right, clients choose the address that Scopeward counts and compares.", areProxies(proxies), e.TrustedHops, areProxies(e.TrustedHops)),
				fmt.Sprintf("%s    # or trusted_hops: %d in scopeward.yaml", envoysSide(e.TrustedHops), proxies))
		}
	})
	if e.TrustedHops > 0 {
		forwardedFor(e, report)
	}
}

func areProxies(n int) string {
	switch n {
	case 0:
		return "no proxies are"
	case 1:
		return "1 proxy is"
	default:
		return fmt.Sprintf("%d proxies are", n)
	}
}

func envoysSide(hops int) string {
	return fmt.Sprintf("use_remote_address: true and xff_num_trusted_hops: %d", hops)
}

// inbound reports whether a manager is that of a sidecar, behind a gateway.
func inbound(m *manager) bool {
	for n := range m.config.ancestors() {
		if n.get("traffic_direction").enum("UNSPECIFIED", "INBOUND", "OUTBOUND") == "INBOUND" {
			return true
		}
	}
	return false
}

// forwardedFor looks after the header that trusted_hops counts in.
func forwardedFor(e *subject, report reporter) {
	const name = "x-forwarded-for"
	e.eachAuthz(func(m *manager, f filter) {
		if m == nil || sent(f, name) {
			return
		}
		at := f.config.get("allowed_headers")
		if !at.exists() {
			at = f.config.get("disallowed_headers")
		}
		report(at, "ext_authz does not send X-Forwarded-For, which trusted_hops counts in: Scopeward takes a proxy for the client.", "allow "+name)
	})
	e.eachAsking(func(m *manager) {
		changes := early(m)
		for _, f := range before(m, m.authz) {
			changes = append(changes, mutations(m, f)...)
			if luaTouches(m, f, "replace|add|remove", name) {
				report(f.at, "This filter changes X-Forwarded-For, which trusted_hops counts in, before Scopeward sees it.", "leave x-forwarded-for to Envoy")
			}
		}
		for _, change := range changes {
			for n := range change.all() {
				if (n.key == "remove" || n.key == "key") && strings.EqualFold(n.text(), name) {
					report(n, "X-Forwarded-For, which trusted_hops counts in, is changed before Scopeward sees it.", "leave x-forwarded-for to Envoy")
				}
			}
		}
	})
}

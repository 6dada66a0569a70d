// Package doctor finds what in the configuration of an Envoy weakens the
// protection that Scopeward gives: ways around it, answers that are not awaited,
// and settings under which Envoy, Scopeward and the service behind see different
// paths, clients or identities.
//
// It is given a configuration and asks nobody. A new check is a line of Checks and
// a function; a request that Envoy lets pass where a check says so is the test of it.
//
// What is meant to be so is said in the metadata of the listener, cluster, virtual
// host or route (config.core.v3.Metadata), which Envoy keeps in its config dump; a
// reason is required:
//
//	metadata: {filter_metadata: {scopeward.doctor: {route-bypass: "the probe of the load balancer"}}}
package doctor

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Severity says how much a finding weakens.
type Severity int

// The severities.
const (
	Info   Severity = iota // could not be told
	Low                    // works, and misleads or costs
	Medium                 // opens something together with something else, or closes everything
	High                   // opens
)

// String gives info, low, medium or high.
func (s Severity) String() string { return [...]string{"info", "low", "medium", "high"}[s] }

// Finding is something that weakens the protection.
type Finding struct {
	Name     string // of the check
	Severity Severity
	Where    string // the way to it, as jq writes it without the leading dot
	// Line and Column are where it stands in the YAML; 0 in JSON. Where nothing
	// is written, they are those of what should hold it.
	Line, Column                          int
	Listener, VirtualHost, Route, Cluster string // the names and matches around it, as far as it is in some
	Why                                   string
	Fix                                   string // what to write there, or to do
}

// Options say what Scopeward is set to. The zero value is what it does without a
// configuration.
type Options struct {
	Cluster     string   // the cluster (or gRPC target) that is Scopeward; by default the one with its name, or all that ext_authz asks
	TrustedHops int      // rate_limit.trusted_hops
	Headers     []string // the identity headers, in lower case; nil: not known, x-auth- and anything
	// Timeout is the longest that a provider may take; 0: the default of 2 s.
	Timeout      time.Duration
	EncodedSlash bool // a policy admits %2F
	Body         bool // a policy asks for the body of requests
	// EscapedUnreserved is that a policy admits escapes of what needs none.
	EscapedUnreserved bool
	Reads             []string // headers of requests that it looks at, in lower case; nil: authorization
	Edits             []string // headers that it changes besides the identity headers, and :path
	Ignore            []string // names of checks not to run
}

// Check is something that Examine looks for. Its name is stable.
type Check struct {
	Name     string
	Severity Severity
	Doc      string // what it finds, and why that matters

	run func(*subject, reporter)
}

// reporter takes a finding: where it is, why that weakens, and what to do.
type reporter func(at *node, why, fix string)

// Checks gives all checks in the order of their names.
func Checks() []Check {
	return []Check{
		{"admin-exposed", High, "Envoy's admin interface can be reached from other hosts, or through a listener: it tells everything, and stops Envoy.", adminExposed},
		{"answered-before", High, "A filter in front of ext_authz answers with content, to anybody: from files, or from a cache, which also asks the service itself, past the filters behind it.", answeredBefore},
		{"authz-cluster", Medium, "The cluster that ext_authz asks is missing or does not speak HTTP/2, or ext_authz is set to HTTP: Scopeward answers gRPC only, so that every request is refused.", authzCluster},
		{"bypass-path", High, "A route that is open on purpose is matched by a path that Envoy takes as it came: /open/../closed passes, and Scopeward is not there to refuse it.", bypassPath},
		{"bypass-headers", High, "A route that is open on purpose leaves the client's own identity headers in the request. Needs to know their names.", bypassHeaders},
		{"clear-route-cache", Medium, "The route is chosen anew after Scopeward's decision, which was about the settings of another one.", clearRouteCache},
		{"client-address", Medium, "Envoy believes the X-Forwarded-For of whoever connects, and Scopeward does not; or Envoy and Scopeward do not agree on how many proxies are in front. Then clients choose their address, or all share one.", clientAddress},
		{"conditional-authz", High, "Scopeward is asked about a part of the requests only: by a fraction, by metadata or by a matcher.", conditionalAuthz},
		{"escaped-slashes", Medium, "path_with_escaped_slashes_action is left open, or turns %2F and %5C into slashes before Scopeward sees them, or takes away the %2F that a policy admits.", escapedSlashes},
		{"failure-mode-allow", High, "Requests pass while Scopeward does not answer, with whatever identity headers the client sent.", failureModeAllow},
		{"filter-disabled", High, "The ext_authz filter is disabled, and no route enables it.", filterDisabled},
		{"header-mutations", High, "decoder_header_mutation_rules keep Scopeward from setting and removing identity headers: the client's own pass.", headerMutations},
		{"host-spelling", Medium, "A host has a policy of its own, and another spelling of the host (HOST. or HOST:PORT) meets a virtual host with another policy: the client chooses by which one is decided.", hostSpelling},
		{"identity-headers", High, "An identity header is set after Scopeward's decision, from what the client sent or over what Scopeward said.", identityHeaders},
		{"incomplete", Info, "A part of the configuration is not there: what weakens in it can't be told. Ask the running Envoy.", incomplete},
		{"listener-bypass", High, "A listener leads to a service, and Scopeward is not asked: it has no ext_authz, or passes connections on as they are.", listenerBypass},
		{"merge-slashes", Low, "Envoy repairs // before Scopeward sees it, which would refuse it: who looks at paths in front of Envoy judges another path.", mergeSlashes},
		{"opaque-filter", Info, "A filter may change requests, and runs code that is not in the configuration (WebAssembly, Go, a module, another process, a Lua file): whether it puts in a token, or changes path, host or identity headers, can't be told.", opaqueFilter},
		{"path-after", High, "A filter changes path or host after the decision: the service gets another request than the one that was allowed.", pathAfter},
		{"path-before", Medium, "A filter changes path or host before ext_authz: policy, refusals and audit are about a path that the client did not send.", pathBefore},
		{"path-normalization", Low, "normalize_path is left open: whether /a/../b is refused by Scopeward or resolved by Envoy depends on Envoy's version and runtime.", pathNormalization},
		{"path-spelling", Medium, "A route has a policy of its own, and another spelling of its path (with a slash at the end, ;x=1, upper case, or an escape that a policy admits) meets a route with another policy, or without Scopeward: the client chooses by which one is decided.", pathSpelling},
		{"plaintext-authz", Medium, "Tokens and identities go from Envoy to Scopeward unencrypted, beyond this host.", plaintextAuthz},
		{"prefix-rewrite", Medium, "A rewrite makes . and .. segments, or empty ones, of a path that has none: with the prefix /api replaced by /, /api../x becomes /../x after Scopeward's decision. So may regular expressions and templates.", prefixRewrite},
		{"raw-path", Medium, "HTTP/2 paths with bytes that are no ASCII get through: Envoy shows Scopeward another character than the one that it forwards.", rawPath},
		{"request-body", Low, "Envoy buffers bodies for ext_authz, and no policy asks for them: large ones are refused (413), and streams wait. Or a policy asks (request.json), and Envoy sends none, not the whole, or not every byte as it is: what depends on it is denied.", requestBody},
		{"route-bypass", High, "Scopeward is not asked about a route: ext_authz is disabled for it, or asks another service. The client's own identity headers pass.", routeBypass},
		{"runtime-switch", Info, "A runtime key can switch Scopeward off, and its value comes from where it can't be told: the admin interface, a folder, or a control plane.", runtimeSwitch},
		{"shadow-mode", High, "ext_authz only records what Scopeward answers: denied requests pass.", shadowMode},
		{"status-on-error", Low, "While Scopeward does not answer, clients are told 403 (or else) instead of 503: they give up instead of coming back, and an outage looks like a policy.", statusOnError},
		{"timeout-long", Low, "ext_authz may wait for longer than the client: who has given up already is still worked for, and is not told why.", timeoutLong},
		{"timeout-short", Low, "ext_authz waits for less than a provider may take: a token that is not in the cache yet is refused although Scopeward would have known. Without a timeout Envoy waits for 200 ms.", timeoutShort},
		{"token-injected", High, "A filter in front of ext_authz puts a token of Envoy's own into requests: everybody is taken for Envoy.", tokenInjected},
		{"token-removed", Medium, "The token does not reach Scopeward: a filter in front removes Authorization, or ext_authz does not send it. Everything that is not public is refused.", tokenRemoved},
		{"underscore-headers", Medium, "Scopeward does not get to see, and so can't remove, a client's x_auth_subject, which many servers read as x-auth-subject: ext_authz does not send it, or the route is open on purpose.", underscoreHeaders},
		{"unsent-headers", Medium, "ext_authz does not send a header that Scopeward is set to look at: where a credential may be, or what tells a browser, another site or a preflight request. Needs the configuration.", unsentHeaders},
		{"unused-settings", Medium, "A route has settings for ext_authz under a name that no filter has, or no request reaches it: Envoy ignores them, such as the policy that the route names.", unusedSettings},
		{"unverified-authz", Medium, "Envoy asks Scopeward over TLS, and does not verify whose certificate it is shown: who stands on the way can answer for Scopeward.", unverifiedAuthz},
		{"upgrade-bypass", High, "Upgrades, such as to WebSocket, have filters of their own, without ext_authz.", upgradeBypass},
	}
}

// The findings about what is said in metadata. They can't be silenced.
const (
	badIgnore    = "bad-ignore"
	unusedIgnore = "unused-ignore"
)

// Documentation gives all names that findings can have, with what they mean.
func Documentation() []Check {
	all := append(Checks(),
		Check{Name: badIgnore, Severity: Low, Doc: "Metadata of scopeward.doctor without a reason, or with a name that no check has. It silences nothing."},
		Check{Name: unusedIgnore, Severity: Low, Doc: "Metadata of scopeward.doctor that silences nothing: what it was about is gone."})
	slices.SortFunc(all, func(a, b Check) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Report is what Examine found.
type Report struct {
	Findings                   []Finding // the most severe first
	Listeners, Routes, Filters int       // how many were looked at; Filters are ext_authz
	Services                   []string  // what is asked, and taken for Scopeward
}

// Examine gives what weakens the protection. Its error is an *UnknownClusterError.
func (c *Config) Examine(o Options) (*Report, error) {
	e, err := newSubject(c, o)
	if err != nil {
		return nil, err
	}
	report := e.report()
	ignored := e.ignores()
	seen := map[[2]string]bool{}
	for _, check := range Checks() {
		if slices.Contains(o.Ignore, check.Name) {
			continue
		}
		check.run(e, func(at *node, why, fix string) {
			// A route configuration may be in use by several listeners.
			key := [2]string{check.Name, at.path()}
			if !seen[key] && !ignored.silence(check.Name, at) {
				report.Findings = append(report.Findings, c.finding(check, at, why, fix))
			}
			seen[key] = true
		})
	}
	ignored.findings(o, func(name string, at *node, why, fix string) {
		check := Check{Name: name, Severity: Low}
		report.Findings = append(report.Findings, c.finding(check, at, why, fix))
	})
	slices.SortStableFunc(report.Findings, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return report, nil
}

func (c *Config) finding(check Check, at *node, why, fix string) Finding {
	f := Finding{Name: check.Name, Severity: check.Severity, Where: at.path(), Why: why, Fix: fix}
	f.Line, f.Column = locate(c.document, at)
	for n := range at.ancestors() {
		name := n.get("name").text()
		switch {
		case n.get("filter_chains").exists() || n.get("default_filter_chain").exists():
			f.Listener = name
		case n.get("domains").exists():
			f.VirtualHost = name
		case n.get("match").exists() && n.get("route").exists():
			f.Route = strings.TrimSpace(name + " " + match(n))
		case n.get("connect_timeout").exists() || n.get("load_assignment").exists():
			f.Cluster = name
		}
	}
	return f
}

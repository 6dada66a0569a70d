package lint

import (
	"fmt"
	"slices"
	"strings"

	"scopeward/policy"
	"scopeward/policy/pattern"
)

// auditMode finds rules that only watch.
func auditMode(g *group, report reporter) {
	for _, r := range g.rules {
		if r.written.Mode.Value == "audit" {
			report(r, r.written.Mode.Pos, "audit-mode", "the rule allows what it would deny", "remove mode: audit once the audit events show that nobody is hurt")
		}
	}
}

// publicCatchAll finds public patterns for every path.
func publicCatchAll(g *group, report reporter) {
	for _, r := range g.rules {
		for _, p := range r.Patterns {
			switch {
			case r.Access != policy.AccessPublic || len(p.Segments) > 0 || p.End != pattern.More:
			case p.Method == "OPTIONS":
				report(r, p.Pos, "public-catch-all", "every OPTIONS request that no other rule takes is public, also to paths that are added later", preflightInstead)
			default:
				report(r, p.Pos, "public-catch-all", "every path that no other rule takes is public, also those that are added later",
					"name the paths that are public: what no rule matches is denied")
			}
		}
	}
}

// publicShadow finds public patterns that take requests right beside those of a
// protected pattern. Each is shown by a request, which the policy was asked about.
func publicShadow(g *group, report reporter) {
	for _, r := range g.rules {
		if r.Access != policy.AccessPublic {
			continue
		}
		for _, p := range r.Patterns {
			neighbour, request, more := g.shadowed(r, p)
			if neighbour == nil {
				continue
			}
			reason := fmt.Sprintf("%s is public by this pattern, right beside the protected %q at line %d", request, neighbour.Text, neighbour.Pos.Line)
			if neighbour.Pos.File != p.Pos.File {
				reason = fmt.Sprintf("%s is public by this pattern, right beside the protected %q at %s", request, neighbour.Text, neighbour.Pos)
			}
			if more > 0 {
				reason += fmt.Sprintf(" (and %d more)", more)
			}
			report(r, p.Pos, "public-shadow", reason, "name only what is public, or let the protected rule cover that request too")
		}
	}
}

// shadowed gives the first protected pattern with a public request beside it, the
// request, and how many more there are.
func (g *group) shadowed(public *rule, p *policy.Pattern) (neighbour *policy.Pattern, request string, more int) {
	for _, r := range g.rules {
		if r.Access == policy.AccessPublic {
			continue
		}
		for _, q := range r.Patterns {
			if !p.Covers(&q.Pattern) {
				continue
			}
			method, target, ok := g.beside(public, p, q)
			switch {
			case !ok:
			case neighbour == nil:
				neighbour, request = q, method+" "+q.Host+target
			default:
				more++
			}
		}
	}
	return neighbour, request, more
}

// beside finds a request next to the protected pattern q that meets the public
// rule: with another method, or with a slash more or less.
func (g *group) beside(public *rule, p, q *policy.Pattern) (method, target string, ok bool) {
	type candidate struct{ method, target string }
	var candidates []candidate
	base := g.concrete(q)
	own := q.Method
	if own == "" {
		own = "GET"
	}
	if p.Method == "" && q.Method != "" && !slices.Contains([]string{"OPTIONS", "HEAD", "TRACE", "CONNECT"}, q.Method) {
		for _, m := range []string{"PUT", "PATCH", "DELETE", "POST"} { // to read may well be public
			if m != q.Method {
				candidates = append(candidates, candidate{m, g.example(q)})
			}
		}
	}
	if q.End == pattern.Exactly {
		candidates = append(candidates, candidate{own, base + "/"}, candidate{own, base + "/" + g.fresh})
	} else if base != "" {
		candidates = append(candidates, candidate{own, base})
		if q.End == pattern.Slash {
			candidates = append(candidates, candidate{own, base + "/" + g.fresh})
		}
	}
	for _, c := range candidates {
		if g.match(c.method, g.host(q), c.target) == public {
			return c.method, c.target, true
		}
	}
	return "", "", false
}

// unreachable finds patterns all of whose requests meet other rules. The examples
// stand for all of them, so this is exact.
func unreachable(g *group, report reporter) {
	for _, r := range g.rules {
		for _, p := range r.Patterns {
			var instead []string
			reached := false
			for target := range g.examples(p) {
				found := g.match(method(p), g.host(p), target)
				if reached = found == r; reached {
					break
				}
				if found != nil && !slices.Contains(instead, found.what()) {
					instead = append(instead, found.what())
				}
			}
			if !reached && len(instead) > 0 {
				report(r, p.Pos, "unreachable", fmt.Sprintf("no request meets %q: more specific patterns take all of them: %s", p.Text, strings.Join(instead, ", ")),
					"remove the pattern, or what takes its place")
			}
		}
	}
}

// headWeaker compares rules for HEAD with those for GET of the same paths.
func headWeaker(g *group, report reporter) {
	for _, r := range g.rules {
		for _, p := range r.Patterns {
			if p.Method != "HEAD" || r.Access == policy.AccessDeny {
				continue
			}
			get := g.match("GET", g.host(p), g.example(p))
			if get == nil || get == r || !r.weaker(get) {
				continue
			}
			report(r, p.Pos, "head-weaker", fmt.Sprintf("HEAD asks for less here than GET does by %q", get.what()),
				"remove the pattern: GET is for HEAD too")
		}
	}
}

// weaker reports whether r certainly asks for less than other.
func (r *rule) weaker(other *rule) bool {
	switch {
	case r.Access == policy.AccessPublic:
		return other.Access != policy.AccessPublic
	case other.Access != policy.AccessToken:
		return other.Access == policy.AccessDeny
	}
	if r.Optional && !other.Optional {
		return true
	}
	missing := func(all, of []string) bool {
		return slices.ContainsFunc(of, func(s string) bool { return !slices.Contains(all, s) })
	}
	if len(r.ACR) == 0 && len(other.ACR) > 0 || other.MaxAge > 0 && (r.MaxAge == 0 || r.MaxAge > other.MaxAge) {
		return true
	}
	return missing(r.Scopes, other.Scopes) || len(r.AnyScopes) == 0 && len(other.AnyScopes) > 0 || r.When == "" && other.When != ""
}

// preflightInstead is what both checks of OPTIONS advise.
const preflightInstead = "write preflight: public in the file, and remove patterns for OPTIONS: browsers' preflight requests pass then where a rule is for what they ask for"

// optionsNotPublic finds OPTIONS patterns that ask for a token and, in a policy
// that lets preflights through somewhere, patterns where they are denied
// (https://fetch.spec.whatwg.org/#cors-preflight-fetch: they carry no credentials).
func optionsNotPublic(g *group, report reporter) {
	browsers := map[string]bool{} // by host
	for _, r := range g.rules {
		for _, p := range r.Patterns {
			switch {
			case p.Method != "OPTIONS" || r.Access == policy.AccessDeny:
			case r.Access == policy.AccessPublic || r.Optional:
				browsers[p.Host] = true
			default:
				report(r, p.Pos, "options-not-public", "a browser's preflight request never carries a token: it gets 401, and the browser sends no other", preflightInstead)
			}
		}
	}
	for _, r := range g.rules {
		for _, p := range r.Patterns {
			if r.LetsPreflightsPass() || p.Method == "OPTIONS" || r.Access == policy.AccessDeny || !browsers[p.Host] && !browsers[""] || isGRPC(p) {
				continue
			}
			target := g.example(p)
			if found := g.match("OPTIONS", g.host(p), target); found != nil && (found.Access == policy.AccessPublic || found.Optional) {
				continue
			}
			report(r, p.Pos, "options-not-public", fmt.Sprintf("other paths let browsers' preflight requests through, but OPTIONS %s%s is denied", p.Host, target),
				"if browsers call it, "+preflightInstead)
			break // one is enough for a rule
		}
	}
}

func missingTests(g *group, report reporter) {
	for _, d := range g.documents {
		if len(d.tests) == 0 {
			report(nil, d.start, "no-tests", "the file has no tests", "write tests: what must be allowed and, more important, what must be denied")
		}
	}
}

func testsOnlyAllow(g *group, report reporter) {
	for _, d := range g.documents {
		protects := slices.ContainsFunc(d.rules, func(r *rule) bool { return r.Access != policy.AccessPublic })
		if len(d.tests) == 0 || !protects || slices.ContainsFunc(d.tests, func(t testYAML) bool { return t.Expect != "allow" }) {
			continue
		}
		report(nil, d.tests[0].Request.Pos, "tests-only-allow", "all tests expect allow: they pass for a policy that allows everything, too", "add tests for what must be denied")
	}
}

package lint

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"scopeward/policy"
	"scopeward/policy/condition"
	"scopeward/policy/pattern"
)

func neverSatisfied(g *group, report reporter) {
	for _, r := range g.rules {
		if r.when != nil && !r.outcomes().canHold {
			report(r, r.when.text.At(0), "never-satisfied", "no request and no token can meet this condition: the rule denies everybody",
				"correct the condition, or write deny: true")
		}
	}
}

func alwaysTrue(g *group, report reporter) {
	for _, r := range g.rules {
		if r.when != nil && !r.outcomes().canFail {
			report(r, r.when.text.At(0), "condition-always-true", "every request and every token meets this condition: it says nothing",
				"correct the condition, or remove it")
		}
	}
}

// outcomes is what the condition can come to, over all methods.
func (r *rule) outcomes() outcomes {
	var all outcomes
	for _, m := range r.methods() {
		o := r.when.outcomes(r.facts(m))
		all.canHold, all.canFail = all.canHold || o.canHold, all.canFail || o.canFail
	}
	return all
}

// methods gives the methods whose requests can reach the rule, and "" for those
// that neither it nor its condition names.
func (r *rule) methods() []string {
	var all []string
	for _, p := range r.Patterns {
		switch p.Method {
		case "":
			all = append(all, "", "GET", "HEAD")
			if r.when != nil {
				r.when.Walk(func(e ast.Expr) {
					if m, ok := condition.Text(e); ok && m != "" && m == strings.ToUpper(m) {
						all = append(all, m)
					}
				})
			}
		case "GET":
			all = append(all, "GET", "HEAD")
		default:
			all = append(all, p.Method)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// facts gives what is known of requests with a method that reach the rule.
func (r *rule) facts(method string) facts {
	hosts := map[string]bool{}
	neverEmpty := map[string]bool{}
	for _, p := range r.Patterns {
		hosts[p.Host] = true
		for _, s := range p.Segments {
			neverEmpty["path."+s.Name()] = true
		}
		if name, _ := pattern.SplitHost(p.Host); name != "" {
			hosts[""] = true // any of many
			neverEmpty["host."+name] = true
		}
	}
	for _, p := range r.Patterns {
		delete(neverEmpty, "path."+p.Rest)
	}
	return facts{
		scopes: r.Scopes,
		equal: func(name, text string) (value, known bool) {
			switch {
			case name == "request.method":
				return text == method, true
			case name == "request.host" && !hosts[""] && !hosts[text]:
				return false, true
			case name == "request.host" && !hosts[""] && len(hosts) == 1:
				return true, true
			case name == "request.host":
				return false, text != strings.ToLower(text) || strings.HasSuffix(text, ".") || strings.Contains(text, ":") && text[0] != '['
			case name == "request.path" && !strings.HasPrefix(text, "/"):
				return false, true
			default:
				return false, text == "" && neverEmpty[name]
			}
		},
	}
}

// headDenied finds conditions that hold for GET and never for HEAD.
func headDenied(g *group, report reporter) {
	for _, r := range g.rules {
		takesHead := slices.ContainsFunc(r.methods(), func(m string) bool { return m == "HEAD" })
		if takesHead && r.when.uses("request.method") && r.when.outcomes(r.facts("GET")).canHold && !r.when.outcomes(r.facts("HEAD")).canHold {
			report(r, r.when.text.At(0), "head-denied", "the condition lets GET through and never HEAD, which the rule is for as well",
				`write request.method in ["GET", "HEAD"], or give the methods rules of their own`)
		}
	}
}

func headerCase(g *group, report reporter) {
	for _, r := range g.rules {
		if r.when == nil {
			continue
		}
		r.when.Walk(func(e ast.Expr) {
			name := e
			if args := condition.Call(e, operators.Index); args != nil && condition.Name(args[0]) == "request.headers" {
				name = args[1]
			} else if args := condition.Call(e, operators.In); args != nil && condition.Name(args[1]) == "request.headers" {
				name = args[0]
			}
			if header, ok := condition.Text(name); ok && name != e && header != strings.ToLower(header) {
				report(r, r.when.at(name), "header-case", fmt.Sprintf("header %q is never there: conditions see the names in lower case", header),
					fmt.Sprintf("write %q", strings.ToLower(header)))
			}
		})
	}
}

// mayBeEmpty are the parts of an identity that some tokens lack.
var mayBeEmpty = []string{"identity.subject", "identity.email", "identity.client_id"}

// emptyMatch finds `path.rest == identity.subject` and the like, unless the
// condition also asks that one of the two is not empty.
func emptyMatch(g *group, report reporter) {
	for _, r := range g.rules {
		if r.when == nil {
			continue
		}
		r.when.Walk(func(e ast.Expr) {
			args := condition.Call(e, operators.Equals)
			if args == nil {
				return
			}
			ours, theirs := condition.Name(args[0]), args[1]
			if !slices.Contains(mayBeEmpty, ours) {
				ours, theirs = condition.Name(args[1]), args[0]
			}
			what := r.clientText(theirs)
			if !slices.Contains(mayBeEmpty, ours) || what == "" || r.when.excludesEmpty(ours) || r.when.excludesEmpty(r.when.keys.Key(theirs)) {
				return
			}
			report(r, r.when.at(theirs), "empty-match", fmt.Sprintf("%s may be empty, and %s is empty for tokens without it: both empty are equal", what, ours),
				fmt.Sprintf(`add && %s != ""`, ours))
		})
	}
}

// clientText says what an expression is if clients choose it and may leave it
// empty, else "".
func (r *rule) clientText(e ast.Expr) string {
	if wildcard, ok := strings.CutPrefix(condition.Name(e), "path."); ok {
		for _, p := range r.Patterns {
			if p.Rest == wildcard {
				return fmt.Sprintf("{%s...}", wildcard)
			}
		}
		return ""
	}
	if path := condition.Path(e); len(path) > 1 && path[0] == "request.json" {
		return "a member of the body"
	}
	for args := condition.Call(e, operators.Index); args != nil; args = condition.Call(args[0], operators.Index) {
		switch condition.Name(args[0]) {
		case "request.headers":
			return "a header"
		case "request.query":
			return "a query parameter"
		}
	}
	return ""
}

// excludesEmpty reports whether the condition compares a part with "" anywhere,
// or asks for its size: a name as condition.Name gives it, or a key.
func (w *when) excludesEmpty(part string) bool {
	is := func(e ast.Expr) bool { return condition.Name(e) == part || w.keys.Key(e) == part }
	found := false
	w.Walk(func(e ast.Expr) {
		if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == "size" {
			found = found || slices.ContainsFunc(e.AsCall().Args(), is) || e.AsCall().IsMemberFunction() && is(e.AsCall().Target())
		}
		for _, operator := range []string{operators.NotEquals, operators.Equals, operators.Greater} {
			if args := condition.Call(e, operator); args != nil {
				a, aOK := condition.Text(args[0])
				b, bOK := condition.Text(args[1])
				found = found || aOK && a == "" && is(args[1]) || bOK && b == "" && is(args[0])
			}
		}
	})
	return found
}

// The names of collections and wildcards that say whose data a path is about.
var (
	ownerCollections  = []string{"users", "user", "accounts", "account", "members", "member", "people", "persons", "customers", "customer", "profiles", "profile", "patients", "patient", "employees", "subscribers"}
	ownerWildcards    = []string{"user", "userid", "uid", "username", "owner", "ownerid", "account", "accountid", "member", "memberid", "customer", "customerid", "patient", "patientid", "profileid", "subject", "sub", "email"}
	tenantCollections = []string{"orgs", "org", "organizations", "organisations", "tenants", "tenant", "workspaces"}
	tenantWildcards   = []string{"org", "orgid", "orgcode", "organization", "organizationid", "organisation", "organisationid", "tenant", "tenantid", "tenantcode", "workspace", "workspaceid"}
)

// ownerUnused finds `/users/{id}` where any user's token will do. A rule that
// asks for a scope to do more than read is for those who may do so for others;
// a tenant's data is another tenant's business only for administrators. Of patterns that
// begin with the same wildcard, one is told for all: who has decided about it has done so.
func ownerUnused(g *group, report reporter) {
	type finding struct {
		rule              *rule
		pattern           *policy.Pattern
		wildcard, compare string
		more              int
	}
	found := map[string]*finding{}
	var order []*finding
	for _, r := range g.rules {
		if r.when.uses("request.path", "identity.scopes", "identity.provider", "identity.claims.roles", "identity.claims.role", "identity.claims.permissions", "identity.claims.groups") {
			continue
		}
		for _, p := range r.Patterns {
			at, tenant, ok := owner(p)
			if !ok || r.when.uses("path."+p.Segments[at].Name()) || r.asksMoreThanOwner(tenant) || g.silenced(r, p.Pos, "owner-unused") {
				continue
			}
			wildcard := p.Segments[at].Name()
			compare := "path." + wildcard + " == identity.subject"
			if tenant {
				compare = "path." + wildcard + " == identity.claims.org_code"
			}
			start := pattern.Pattern{Host: p.Host, Segments: p.Segments[:at+1]}
			if known := found[start.Key()]; known != nil {
				known.more++
				continue
			}
			found[start.Key()] = &finding{rule: r, pattern: p, wildcard: wildcard, compare: compare}
			order = append(order, found[start.Key()])
		}
	}
	for _, f := range order {
		more := ""
		if f.more > 0 {
			more = fmt.Sprintf(" (and so of %d more below it)", f.more)
		}
		report(f.rule, f.pattern.Pos, "owner-unused", fmt.Sprintf("{%s} says whose data it is, but the rule does not ask whether that is the token's: any token that passes may have all%s", f.wildcard, more),
			fmt.Sprintf("add when: %s, or ask for a scope that says that all may be read", f.compare))
	}
}

// owner finds the segment that says whose data a path is about: of a collection of owners,
// one that is named for them or only for being an id, or one that has an owner's name.
func owner(p *policy.Pattern) (at int, tenant, ok bool) {
	plain := strings.NewReplacer("_", "", "-", "")
	for i, s := range p.Segments {
		if s.Literal != "" {
			continue
		}
		name, collection := strings.ToLower(plain.Replace(s.Name())), ""
		if i > 0 {
			collection = strings.ToLower(p.Segments[i-1].Literal)
		}
		switch {
		case slices.Contains(tenantWildcards, name), slices.Contains(tenantCollections, collection) && namesOwner(name, collection):
			return i, true, true
		case slices.Contains(ownerWildcards, name), slices.Contains(ownerCollections, collection) && namesOwner(name, collection):
			return i, false, true
		}
	}
	return 0, false, false
}

// namesOwner reports whether a wildcard is for one of a collection: {id} and {user_id} of
// users are, {type} is not.
func namesOwner(name, collection string) bool {
	for _, general := range []string{"id", "uuid", "guid", "sid", "key", "slug", "name", "code", "idorslug"} {
		if name == general || strings.HasPrefix(name, strings.TrimSuffix(collection, "s")) && strings.HasSuffix(name, general) {
			return true
		}
	}
	return name == strings.TrimSuffix(collection, "s") || name == collection
}

func (r *rule) asksMoreThanOwner(tenant bool) bool {
	if !r.asksToken() {
		return true
	}
	enough := func(scope string) bool {
		return isAdminScope(scope) || !tenant && !isReadScope(scope)
	}
	return slices.ContainsFunc(r.Scopes, enough) ||
		len(r.AnyScopes) > 0 && !slices.ContainsFunc(r.AnyScopes, func(scope string) bool { return !enough(scope) })
}

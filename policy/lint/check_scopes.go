package lint

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
	"scopeward/policy/condition"
	"scopeward/policy/pattern"
)

// asksToken reports whether the rule is for those with a valid token.
func (r *rule) asksToken() bool { return r.Access == policy.AccessToken }

func singleAnyScope(g *group, report reporter) {
	for _, r := range g.rules {
		if len(r.AnyScopes) == 1 {
			report(r, r.written.AnyScopes.Pos, "single-any-scope", fmt.Sprintf("any_scopes has one scope, %s: it says the same as scopes", r.AnyScopes[0]),
				"write scopes, or add the scopes that will do as well")
		}
	}
}

// words gives the parts of a scope: read:users has read and users.
func words(scope string) []string {
	return strings.FieldsFunc(strings.ToLower(scope), func(c rune) bool { return strings.ContainsRune(":._/-|", c) })
}

var (
	readWords  = []string{"read", "reader", "readonly", "view", "viewer", "list", "get", "search", "query", "ro", "watch"}
	writeWords = []string{"write", "writer", "readwrite", "rw", "create", "add", "insert", "update", "edit", "editor", "modify", "change", "delete", "remove", "manage", "manager", "control", "send", "publish", "execute", "run", "approve", "post", "put", "patch", "upload", "import", "submit", "full", "all"}
	adminWords = []string{"admin", "admins", "administrator", "superuser", "root", "owner", "operator", "support", "staff", "internal", "system", "service", "platform", "global", "any", "*"}
)

func hasWord(scope string, known []string) bool {
	return slices.ContainsFunc(words(scope), func(word string) bool { return slices.Contains(known, word) })
}

func isAdminScope(scope string) bool { return hasWord(scope, adminWords) }

// isReadScope reports whether a scope says that it is for reading only.
func isReadScope(scope string) bool {
	return hasWord(scope, readWords) && !hasWord(scope, writeWords) && !isAdminScope(scope)
}

// readersPass gives scopes that satisfy the rule and all say read, nil if there
// are none.
func (r *rule) readersPass() []string {
	if slices.ContainsFunc(r.Scopes, func(s string) bool { return !isReadScope(s) }) {
		return nil
	}
	if len(r.AnyScopes) == 0 {
		return r.Scopes
	}
	if i := slices.IndexFunc(r.AnyScopes, isReadScope); i >= 0 {
		return append(slices.Clone(r.Scopes), r.AnyScopes[i])
	}
	return nil
}

func writeWithReadScope(g *group, report reporter) {
	for _, r := range g.rules {
		scopes := r.readersPass()
		if !r.asksToken() || len(scopes) == 0 || r.when.uses("identity.scopes", "identity.claims.roles", "identity.claims.role", "identity.claims.permissions", "identity.claims.groups") {
			continue
		}
		for _, p := range r.Patterns {
			method := p.Method
			if method == "" {
				method = "POST"
			}
			if !writes(method, p) || r.when != nil && !r.when.outcomes(r.facts(method)).canHold {
				continue
			}
			reason := fmt.Sprintf("%s may write, but %s is enough for it", p.Method, strings.Join(scopes, " "))
			advice := "ask for a scope to write"
			if p.Method == "" {
				reason = fmt.Sprintf("the pattern is for all methods, also POST and DELETE, but %s is enough for them", strings.Join(scopes, " "))
				advice = "write GET in front of the pattern, or ask for a scope to write"
			}
			report(r, p.Pos, "write-with-read-scope", reason, advice)
		}
	}
}

// Verbs at the start of the last segment of a path that is called by POST.
var (
	readVerbs  = []string{"search", "query", "find", "lookup", "list", "get", "count", "filter", "preview", "validate", "check", "read", "batchget", "graphql", "export", "introspect", "estimate", "compare"}
	writeVerbs = []string{"create", "update", "delete", "set", "put", "add", "remove", "insert", "upsert", "patch", "write", "cancel", "import", "approve", "batchcreate", "batchupdate", "batchdelete"}
)

// writes reports whether a request with this method and path likely changes
// something. By POST one may also search, and gRPC has no other method.
func writes(method string, p *policy.Pattern) bool {
	verb := ""
	if p.End == pattern.Exactly {
		verb = strings.ToLower(p.Segments[len(p.Segments)-1].Literal)
	}
	if colon := strings.LastIndexByte(verb, ':'); colon >= 0 { // /users:search
		verb = verb[colon+1:]
	}
	starts := func(verbs []string) bool {
		return slices.ContainsFunc(verbs, func(v string) bool { return strings.HasPrefix(verb, v) })
	}
	switch method {
	case "POST":
		if isGRPC(p) {
			return starts(writeVerbs)
		}
		return !starts(readVerbs)
	case "PUT", "PATCH", "DELETE":
		return true
	default:
		return false
	}
}

// maxScopes bounds the scopes that are compared, each with each.
const maxScopes = 5000

// scopeTypo finds scopes that are written once, in rules, conditions and tests
// together, and are one slip away from another one.
func scopeTypo(g *group, report reporter) {
	type use struct {
		rule  *rule
		pos   strictyaml.Pos
		count int
		words []string
	}
	uses := map[string]*use{}
	var order []string
	note := func(r *rule, scope string, pos strictyaml.Pos) {
		u := uses[scope]
		if u == nil {
			u = &use{rule: r, pos: pos, words: words(scope)}
			uses[scope] = u
			order = append(order, scope)
		}
		u.count++
	}
	for _, d := range g.documents {
		for _, r := range d.rules {
			for _, s := range slices.Concat(r.written.Scopes, r.written.AnyScopes.Value) {
				note(r, s.Value, s.Pos)
			}
			if r.when != nil {
				r.when.Walk(func(e ast.Expr) {
					if scope, ok := condition.Scope(e); ok {
						note(r, scope, r.when.at(e))
					}
				})
			}
		}
		for _, t := range d.tests {
			for _, s := range t.Scopes {
				note(nil, s.Value, s.Pos)
			}
		}
	}
	for i, scope := range order {
		if uses[scope].count != 1 || len(order) > maxScopes {
			continue
		}
		for j, other := range order {
			// Of two that are written once, the later one is the slip.
			if i != j && (uses[other].count > 1 || j < i) && isSlip(uses[scope].words, uses[other].words) {
				report(uses[scope].rule, uses[scope].pos, "scope-typo", fmt.Sprintf("scope %s is written nowhere else, and is nearly %s", scope, other),
					fmt.Sprintf("write %s if that is meant", other))
				break
			}
		}
	}
}

// isSlip reports whether two scopes, in words, are likely meant to be one: they differ in
// case or separators, in the order of their words, or in one word by one slip
// behind its first letter.
func isSlip(x, y []string) bool {
	if len(x) != len(y) || len(x) == 0 {
		return false
	}
	differ, at := 0, 0
	for i := range x {
		if x[i] != y[i] {
			differ++
			at = i
		}
	}
	switch differ {
	case 0:
		return true
	case 1:
		return max(len(x[at]), len(y[at])) >= 4 && min(len(x[at]), len(y[at])) >= 3 && x[at][0] == y[at][0] && oneSlip(x[at], y[at])
	default:
		return len(x) <= 4 && slices.Equal(slices.Sorted(slices.Values(x)), slices.Sorted(slices.Values(y)))
	}
}

// oneSlip reports whether one letter more, less, other or swapped with its
// neighbour makes a into b. Digits are no slips: v1 and v2 are two things.
func oneSlip(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	isDigit := func(s string, at int) bool { return at < len(s) && s[at] >= '0' && s[at] <= '9' }
	if isDigit(a, i) || isDigit(b, i) {
		return false
	}
	switch len(b) - len(a) {
	case 0:
		return a[i+1:] == b[i+1:] || i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	case 1:
		return a[i:] == b[i+1:]
	default:
		return false
	}
}

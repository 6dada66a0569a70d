package openapi

import (
	"slices"
	"strconv"
	"strings"

	"scopeward/policy"
)

// requirement reads a security key, which is the operation's or the document's.
func (r *reader) requirement(op *Operation, security node) Requirement {
	switch {
	case security.Node == nil:
		op.note(op.Pos, "neither the operation nor the document says anything about security: write security: [] if it is public")
		return Requirement{Silent: true}
	case !security.isSequence():
		op.note(r.pos(security), "security is no list")
		return Requirement{}
	case len(security.Content) == 0:
		return Requirement{Public: true}
	}
	var out Requirement
	for i := range security.Content {
		alternative := security.child(i)
		switch ways, ok := r.alternative(op, alternative); {
		case !ok:
		case ways == nil:
			return Requirement{Public: true}
		default:
			out.Alternatives = append(out.Alternatives, ways...)
		}
	}
	scoped := slices.ContainsFunc(out.Alternatives, func(scopes []string) bool { return len(scopes) > 0 })
	out.Alternatives = minimal(out.Alternatives)
	if scoped && len(out.Alternatives[0]) == 0 {
		op.note(r.pos(security), "one alternative asks for a token without scopes, so the scopes of the others do not matter")
	}
	return out
}

// alternative reads what is needed together: ways to meet it, none for `{}`. It is not ok
// if a rule cannot check all of it.
func (r *reader) alternative(op *Operation, alternative node) (ways [][]string, ok bool) {
	if !alternative.isMapping() {
		op.note(r.pos(alternative), "a security requirement is no mapping")
		return nil, false
	}
	if len(alternative.Content) == 0 {
		return nil, true
	}
	ways, ok = [][]string{{}}, true
	providers := map[string]bool{}
	for i := 0; i+1 < len(alternative.Content); i += 2 {
		key, value := alternative.child(i), alternative.child(i+1)
		scheme, fault, why := r.scheme(key, value)
		if why != "" {
			op.note(r.pos(fault), "%s", why)
			ok = false
			continue
		}
		provider := r.options.Schemes[key.text()]
		if providers[provider] = true; len(providers) > 1 {
			op.note(r.pos(alternative), "it asks for two credentials at once, and a request has one")
			ok = false
			continue
		}
		scopes, good := r.scopes(op, value, isBearer(scheme))
		ok = ok && good
		if scheme.get("type").text() == "http" && len(value.Content) > 0 {
			op.note(r.pos(value), "the list of the http scheme %s is taken as scopes: OpenAPI has roles there", strconv.Quote(printable(key.text())))
		}
		if ways = r.with(ways, scopes, provider); len(ways) > maxWays {
			op.note(r.pos(alternative), "it has too many alternatives")
			return nil, false
		}
	}
	for _, way := range ways {
		slices.Sort(way)
	}
	return ways, ok
}

// maxWays bounds the alternatives of one requirement.
const maxWays = 1000

// with adds to each of the ways a token with the scopes, all of them or any, and of a
// provider.
func (r *reader) with(ways [][]string, scopes []string, provider string) [][]string {
	choices := [][]string{scopes}
	if r.options.Scopes == ScopesAny && len(scopes) > 0 {
		choices = nil
		for _, scope := range scopes {
			choices = append(choices, []string{scope})
		}
	}
	var all [][]string
	for _, way := range ways {
		for _, choice := range choices {
			next := slices.Clone(way)
			if provider != "" {
				choice = append([]string{ofProvider + provider}, choice...)
			}
			for _, scope := range choice {
				if !slices.Contains(next, scope) {
					next = append(next, scope)
				}
			}
			all = append(all, next)
		}
	}
	return all
}

// scopes reads the list of a scheme. Those of schemes that have no scopes are roles
// (OpenAPI 3.1 §4.8.30), which nothing says anything about.
func (r *reader) scopes(op *Operation, list node, bearer bool) (scopes []string, ok bool) {
	if r.options.Scopes == ScopesKinde && bearer {
		return []string{r.options.Prefix + kindeScope(op)}, true
	}
	ok = true
	for i := range list.Content {
		scope := list.child(i)
		switch text := r.options.Prefix + scope.text(); {
		case !bearer:
			op.note(r.pos(scope), "the role %s cannot be checked", strconv.Quote(printable(scope.text())))
			ok = false
		case !scope.isText() || !policy.IsScope(text):
			op.note(r.pos(scope), "%s is no scope (RFC 6749 section 3.3)", strconv.Quote(printable(text)))
			ok = false
		case !slices.Contains(scopes, text):
			scopes = append(scopes, text)
		}
	}
	return scopes, ok
}

// kindeScope names an operation as scopes are named for APIs in Kinde: GET /users/{userId}
// is get:users_userid.
func kindeScope(op *Operation) string {
	path, _, _ := strings.Cut(op.Path, "#")
	words := strings.FieldsFunc(strings.ToLower(path), func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9') })
	return strings.ToLower(op.Method) + ":" + strings.Join(words, "_")
}

// scheme finds the security scheme that a key names. If a rule can't check it,
// it says why, and which node is at fault.
func (r *reader) scheme(key, list node) (scheme, fault node, why string) {
	quoted := strconv.Quote(printable(key.text()))
	schemes := r.root.get("components").get("securitySchemes")
	defined := schemes.get(key.text())
	if name, ok := strings.CutPrefix(key.text(), "#/components/securitySchemes/"); ok && defined.Node == nil { // OpenAPI 3.2
		defined = schemes.get(name)
	}
	if defined.Node == nil {
		return node{}, key, "the security scheme " + quoted + " is not defined"
	}
	if scheme, fault, why = r.follow(defined); why != "" {
		return node{}, fault, "the security scheme " + quoted + " cannot be read: " + why
	}
	switch {
	case !list.isSequence():
		return node{}, key, "the scopes of the security scheme " + quoted + " are no list"
	case isBearer(scheme), r.options.Schemes[key.text()] != "":
		return scheme, node{}, ""
	}
	kind := printable(scheme.get("type").text())
	switch kind {
	case "http":
		kind += " " + printable(scheme.get("scheme").text())
	case "apiKey":
		kind += " in " + printable(scheme.get("in").text()) + " " + printable(scheme.get("name").text())
	case "":
		return node{}, defined, "the security scheme " + quoted + " cannot be read: it has no type"
	}
	return node{}, key, "the security scheme " + quoted + " is " + kind + ", which no rule can check: if a provider of the configuration does, say --scheme " + shellWord(key.text()) + "=PROVIDER"
}

// isBearer reports whether a scheme stands for a bearer token (RFC 6750).
func isBearer(scheme node) bool {
	switch scheme.get("type").text() {
	case "oauth2", "openIdConnect":
		return true
	case "http":
		return strings.EqualFold(scheme.get("scheme").text(), "bearer") // RFC 9110 §11.1
	default:
		return false
	}
}

// shellWord makes one word of a name for a command line.
func shellWord(s string) string {
	if s = printable(s); strings.ContainsAny(s, " '\"$\\`&;|<>()*?!#~") {
		return "'" + strings.ReplaceAll(s, "'", "'\\''") + "'"
	}
	return s
}

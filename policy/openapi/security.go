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
	for _, content := range security.Content {
		alternative := resolve(content)
		switch scopes, ok := r.alternative(op, alternative); {
		case !ok:
		case scopes == nil:
			return Requirement{Public: true}
		default:
			out.Alternatives = append(out.Alternatives, scopes)
		}
	}
	scoped := slices.ContainsFunc(out.Alternatives, func(scopes []string) bool { return len(scopes) > 0 })
	out.Alternatives = minimal(out.Alternatives)
	if scoped && len(out.Alternatives[0]) == 0 {
		op.note(r.pos(security), "one alternative asks for a token without scopes, so the scopes of the others do not matter")
	}
	return out
}

// alternative reads what is needed together: the scopes, nil for `{}`. It is
// not ok if a rule cannot check all of it.
func (r *reader) alternative(op *Operation, alternative node) (scopes []string, ok bool) {
	if !alternative.isMapping() {
		op.note(r.pos(alternative), "a security requirement is no mapping")
		return nil, false
	}
	if len(alternative.Content) == 0 {
		return nil, true
	}
	scopes, ok = []string{}, true
	for i := 0; i+1 < len(alternative.Content); i += 2 {
		key, value := resolve(alternative.Content[i]), resolve(alternative.Content[i+1])
		scheme, fault, why := r.scheme(key, value)
		if why != "" {
			op.note(r.pos(fault), "%s", why)
			ok = false
			continue
		}
		for _, content := range value.Content {
			scope := resolve(content)
			if !scope.isText() || !policy.IsScope(scope.Value) {
				op.note(r.pos(scope), "%s is no scope (RFC 6749 section 3.3)", strconv.Quote(printable(scope.text())))
				ok = false
			} else if !slices.Contains(scopes, scope.Value) {
				scopes = append(scopes, scope.Value)
			}
		}
		if scheme.get("type").text() == "http" && len(value.Content) > 0 {
			op.note(r.pos(value), "the list of the http scheme %s is taken as scopes: OpenAPI has roles there", strconv.Quote(printable(key.text())))
		}
	}
	slices.Sort(scopes)
	return scopes, ok
}

// scheme finds the security scheme that a key names. If a rule can't check it,
// it says why, and which node is at fault.
func (r *reader) scheme(key, list node) (scheme, fault node, why string) {
	quoted := strconv.Quote(printable(key.text()))
	defined := r.root.get("components").get("securitySchemes").get(key.text())
	if defined.Node == nil {
		return node{}, key, "the security scheme " + quoted + " is not defined"
	}
	if scheme, fault, why = r.follow(defined); why != "" {
		return node{}, fault, "the security scheme " + quoted + " cannot be read: " + why
	}
	switch {
	case !list.isSequence():
		return node{}, key, "the scopes of the security scheme " + quoted + " are no list"
	case isBearer(scheme):
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
	return node{}, key, "the security scheme " + quoted + " is " + kind + ", which no rule can check"
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

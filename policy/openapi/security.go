package openapi

import (
	"slices"
	"strconv"
	"strings"

	v3 "github.com/pb33f/libopenapi/datamodel/low/v3"
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
		if why := r.scheme(key.text(), value); why != "" {
			op.note(r.pos(key), "%s", why)
			ok = false
			continue
		}
		for _, content := range value.Content {
			scope := resolve(content)
			if !scope.isText() || !isScope(scope.Value) {
				op.note(r.pos(scope), "%s is no scope (RFC 6749 section 3.3)", strconv.Quote(printable(scope.text())))
				ok = false
			} else if !slices.Contains(scopes, scope.Value) {
				scopes = append(scopes, scope.Value)
			}
		}
		if s := r.schemes[key.text()]; s.Type.Value == "http" && len(value.Content) > 0 {
			op.note(r.pos(value), "the list of the http scheme %s is taken as scopes: OpenAPI has roles there", strconv.Quote(printable(key.text())))
		}
	}
	slices.Sort(scopes)
	return scopes, ok
}

// scheme says why a rule can't check a security scheme; "" if it can.
func (r *reader) scheme(name string, list node) string {
	scheme, quoted := r.schemes[name], strconv.Quote(printable(name))
	switch {
	case scheme == nil:
		return "the security scheme " + quoted + " is not defined"
	case !list.isSequence():
		return "the scopes of the security scheme " + quoted + " are no list"
	case isBearer(scheme):
		return ""
	}
	kind := printable(scheme.Type.Value)
	switch kind {
	case "http":
		kind += " " + printable(scheme.Scheme.Value)
	case "apiKey":
		kind += " in " + printable(scheme.In.Value) + " " + printable(scheme.Name.Value)
	case "":
		return "the security scheme " + quoted + " cannot be read"
	}
	return "the security scheme " + quoted + " is " + kind + ", which no rule can check"
}

// isBearer reports whether a scheme stands for a bearer token (RFC 6750).
func isBearer(scheme *v3.SecurityScheme) bool {
	switch scheme.Type.Value {
	case "oauth2", "openIdConnect":
		return true
	case "http":
		return strings.EqualFold(scheme.Scheme.Value, "bearer") // RFC 9110 §11.1
	default:
		return false
	}
}

// isScope reports whether s is a scope-token (RFC 6749 §3.3).
func isScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

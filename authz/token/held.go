package token

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"scopeward/internal/exactjson"
)

// heldClaims are a token's claims, kept as JSON: of the many identities in a cache few
// are ever asked for them, and a map would be most of an identity's memory.
type heldClaims struct {
	rest string // what the identity does not hold in its fields
	own  uint8  // what it does: bit i is the claim of that index in fieldClaims

	// asked are those that were asked for as text: to decode them for each request
	// would be most of its cost.
	asked atomic.Pointer[[]claimText]

	examined atomic.Pointer[examined] // by the list of revoked tokens that was asked last
	noted    noted
}

// maxAsked bounds the names and texts of asked.
const maxAsked = 256

// fieldClaims are the claims that the identity's fields may hold, for [Identity.field].
var fieldClaims = [...]string{"iss", "sub", "email", "client_id", "azp", "scope", "exp"}

// field is a claim as the fields hold it: in JSON a string, but for exp.
func (id *Identity) field(name string) string {
	switch name {
	case "iss":
		return id.Issuer
	case "sub":
		return id.Subject
	case "email":
		return id.Email
	case "scope":
		return id.ScopeText()
	case "exp":
		return strconv.FormatInt(id.Expiry.Unix(), 10)
	default:
		return id.ClientID
	}
}

// holds tells whether the fields hold a claim, which is JSON.
func (id *Identity) holds(c claim) bool {
	if c.name == "exp" {
		return c.text == id.field(c.name)
	}
	return c.text[0] == '"' && unquote(c.text) == id.field(c.name)
}

// SetClaims keeps the claims. The other fields must be set already: a claim that they
// hold is not kept twice.
func (id *Identity) SetClaims(claims Claims) {
	id.claims = &heldClaims{}
	rest := make([]byte, 0, 512) // mostly enough, and then it needs no heap
	for _, c := range claims.members {
		if i := slices.Index(fieldClaims[:], c.name); i >= 0 && id.holds(c) {
			id.claims.own |= 1 << i
			continue
		}
		rest = appendMember(rest, c.name)
		rest = append(rest, c.text...)
	}
	if len(rest) > 0 {
		rest[0] = '{'
		id.claims.rest = string(append(rest, '}'))
	}
}

// appendMember begins a member of an object, of which the first comma becomes a brace.
func appendMember(b []byte, name string) []byte {
	b = append(b, ',')
	b, _ = jsontext.AppendQuote(b, name) // it was valid UTF-8
	return append(b, ':')
}

// json is the claims as an object, to the letter but for what the fields hold.
func (id *Identity) json() []byte {
	if id.claims == nil {
		return []byte("{}")
	}
	b := []byte(id.claims.rest)
	if len(b) > 0 {
		b[0], b = ',', b[:len(b)-1]
	}
	for i, name := range fieldClaims {
		switch {
		case id.claims.own&(1<<i) == 0:
			continue
		case name == "exp":
			b = append(appendMember(b, name), id.field(name)...)
		default:
			b, _ = jsontext.AppendQuote(appendMember(b, name), id.field(name))
		}
	}
	if len(b) == 0 {
		return []byte("{}")
	}
	b[0] = '{'
	return append(b, '}')
}

// Claims decodes the claims, as [Claims.Map] does. The map is the caller's own.
func (id *Identity) Claims() map[string]any {
	claims, c := map[string]any{}, id.claims
	if c == nil {
		return claims
	}
	if c.rest != "" {
		value, _ := decode(c.rest) // SetClaims has written it
		claims = value.(map[string]any)
	}
	for i, name := range fieldClaims {
		switch {
		case c.own&(1<<i) == 0:
		case name == "exp":
			claims[name] = id.Expiry.Unix()
		default:
			claims[name] = id.field(name)
		}
	}
	return claims
}

type claimText struct{ name, text, fault string }

// ClaimText is a claim as text: a string, a number, a boolean or a list of strings,
// separated by spaces. It is empty for what is not there, and for what has no such form,
// or one that others could read differently; of that, fault says why. The names must be
// few, such as those of a configuration: each is remembered.
func (id *Identity) ClaimText(name string) (text, fault string) {
	if id.claims == nil {
		return "", ""
	}
	known := id.claims.asked.Load()
	var texts []claimText
	if known != nil {
		texts = *known
	}
	for _, c := range texts {
		if c.name == name {
			return c.text, c.fault
		}
	}
	text, fault = textOf(id.Claims()[name])
	kept := len(name) + len(text)
	for _, c := range texts {
		kept += len(c.name) + len(c.text)
	}
	if kept > maxAsked { // the cache doesn't know of more
		return text, fault
	}
	next := append(slices.Clip(texts), claimText{name, text, fault})
	id.claims.asked.CompareAndSwap(known, &next) // who comes second decodes again
	return text, fault
}

func textOf(claim any) (text, fault string) {
	switch v := claim.(type) {
	case nil:
		return "", ""
	case string:
		switch {
		case spaceAtEnds(v):
			return "", "it has white space at an end"
		case strings.ContainsFunc(v, unicode.IsControl):
			return "", "it has control characters"
		}
		return v, ""
	case bool:
		return strconv.FormatBool(v), ""
	case int64:
		return strconv.FormatInt(v, 10), ""
	case uint64:
		return strconv.FormatUint(v, 10), ""
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), ""
	case json.Number:
		if !exactjson.IsInteger(v.String()) {
			return "", "it is a number with a fraction or exponent that is too large to be exact"
		}
		return v.String(), ""
	case []any:
		return textOfList(v)
	default:
		return "", "it is an object"
	}
}

// textOfList joins strings. Another list must not look the same.
func textOfList(list []any) (text, fault string) {
	parts := make([]string, len(list))
	for i, element := range list {
		s, ok := element.(string)
		switch {
		case !ok:
			return "", "its list has something else than strings"
		case s == "" || strings.ContainsFunc(s, isSpace):
			return "", "its list has an element with white space, or an empty one"
		case strings.ContainsFunc(s, unicode.IsControl):
			return "", "it has control characters"
		}
		parts[i] = s
	}
	return strings.Join(parts, " "), ""
}

package token

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// heldClaims are a token's claims, kept as JSON: of the many identities in a cache few
// are ever asked for them, and a map would be most of an identity's memory.
type heldClaims struct {
	rest string // what the identity does not hold in its fields
	own  uint8  // what it does: bit i is the claim of that index in fieldClaims

	// asked are those that were asked for as text: to decode them for each request
	// would be most of its cost.
	asked atomic.Pointer[[]claimText]
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
		rest = append(rest, ',')
		rest, _ = jsontext.AppendQuote(rest, c.name) // it was valid UTF-8
		rest = append(append(rest, ':'), c.text...)
	}
	if len(rest) > 0 {
		rest[0] = '{'
		id.claims.rest = string(append(rest, '}'))
	}
}

// Claims decodes the claims. The map is the caller's own.
func (id *Identity) Claims() map[string]any {
	claims, c := map[string]any{}, id.claims
	if c == nil {
		return claims
	}
	if c.rest != "" {
		_ = json.Unmarshal([]byte(c.rest), &claims) // SetClaims has written it
	}
	for i, name := range fieldClaims {
		switch {
		case c.own&(1<<i) == 0:
		case name == "exp":
			claims[name] = float64(id.Expiry.Unix())
		default:
			claims[name] = id.field(name)
		}
	}
	return claims
}

type claimText struct{ name, text string }

// ClaimText is a claim as text: a string, a number, a boolean or a list of strings,
// separated by spaces. What has no such form, and what is not there, is empty. The
// names must be few, such as those of a configuration: each is remembered.
func (id *Identity) ClaimText(name string) string {
	if id.claims == nil {
		return ""
	}
	known := id.claims.asked.Load()
	var texts []claimText
	if known != nil {
		texts = *known
	}
	for _, c := range texts {
		if c.name == name {
			return c.text
		}
	}
	text := textOf(id.Claims()[name])
	kept := len(name) + len(text)
	for _, c := range texts {
		kept += len(c.name) + len(c.text)
	}
	if kept > maxAsked { // the cache doesn't know of more
		return text
	}
	next := append(slices.Clip(texts), claimText{name, text})
	id.claims.asked.CompareAndSwap(known, &next) // who comes second decodes again
	return text
}

func textOf(claim any) string {
	switch v := claim.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return ""
			}
			parts[i] = s
		}
		return strings.Join(parts, " ")
	default:
		return ""
	}
}

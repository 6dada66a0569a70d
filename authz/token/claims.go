package token

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/go-json-experiment/json"
)

// heldClaims are a token's claims, kept as JSON: of the many identities in a cache few
// are ever asked for them, and a map would be most of an identity's memory.
type heldClaims struct {
	rest string   // what the identity does not hold in its fields
	own  claimSet // what it does

	// asked are those that were asked for as text: to decode them for each request
	// would be most of its cost.
	asked atomic.Pointer[[]claimText]
}

// claimSet is a set of the claims that an identity's fields may hold.
type claimSet uint8

const (
	ownIssuer claimSet = 1 << iota
	ownSubject
	ownEmail
	ownClientID
	ownAuthorizedParty
	ownScope
	ownExpiry
)

// ownClaim tells which field holds exactly this claim; 0: none does.
func (id *Identity) ownClaim(name string, value any) claimSet {
	text, isText := value.(string)
	switch {
	case name == "exp" && value == float64(id.Expiry.Unix()):
		return ownExpiry
	case !isText:
		return 0
	case name == "iss" && text == id.Issuer:
		return ownIssuer
	case name == "sub" && text == id.Subject:
		return ownSubject
	case name == "email" && text == id.Email:
		return ownEmail
	case name == "client_id" && text == id.ClientID:
		return ownClientID
	case name == "azp" && text == id.ClientID:
		return ownAuthorizedParty
	case name == "scope" && text == id.ScopeText():
		return ownScope
	}
	return 0
}

// SetClaims keeps claims as they were decoded by [DecodeObject]. The other fields
// must be set already: a claim that they hold is not kept twice.
func (id *Identity) SetClaims(claims map[string]any) error {
	id.claims = &heldClaims{}
	rest := map[string]any{}
	for name, value := range claims {
		if own := id.ownClaim(name, value); own != 0 {
			id.claims.own |= own
		} else {
			rest[name] = value
		}
	}
	if len(rest) == 0 {
		return nil
	}
	var value any = rest // the library encodes it without reflection
	object, err := json.Marshal(&value)
	id.claims.rest = string(object)
	return err
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
	for _, own := range []struct {
		claim claimSet
		name  string
		value any
	}{
		{ownIssuer, "iss", id.Issuer}, {ownSubject, "sub", id.Subject}, {ownEmail, "email", id.Email},
		{ownClientID, "client_id", id.ClientID}, {ownAuthorizedParty, "azp", id.ClientID},
		{ownScope, "scope", id.ScopeText()}, {ownExpiry, "exp", float64(id.Expiry.Unix())},
	} {
		if c.own&own.claim != 0 {
			claims[own.name] = own.value
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

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
	rest string // what the identity does not hold in its fields
	own  uint8  // what it does: bit i is the claim of that index in fieldClaims

	// asked are those that were asked for as text: to decode them for each request
	// would be most of its cost.
	asked atomic.Pointer[[]claimText]
}

// fieldClaim is a claim as the identity's fields hold it.
type fieldClaim struct {
	name  string
	value any // a string or a float64
}

func (id *Identity) fieldClaims() [7]fieldClaim {
	return [...]fieldClaim{
		{"iss", id.Issuer}, {"sub", id.Subject}, {"email", id.Email}, {"client_id", id.ClientID}, {"azp", id.ClientID},
		{"scope", id.ScopeText()}, {"exp", float64(id.Expiry.Unix())},
	}
}

// SetClaims keeps claims as they were decoded by [DecodeObject]. The other fields
// must be set already: a claim that they hold is not kept twice.
func (id *Identity) SetClaims(claims map[string]any) error {
	id.claims = &heldClaims{}
	own, rest := id.fieldClaims(), map[string]any{}
	for name, value := range claims {
		if i := slices.IndexFunc(own[:], func(c fieldClaim) bool { return c.name == name && c.value == value }); i >= 0 {
			id.claims.own |= 1 << i
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
	for i, own := range id.fieldClaims() {
		if c.own&(1<<i) != 0 {
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

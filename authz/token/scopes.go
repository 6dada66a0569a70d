package token

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Place is where a value stands in claims: the reference tokens of a JSON Pointer
// (RFC 6901), of which the first is the name of a claim. The zero value is nowhere.
type Place []string

// ParsePlace reads the name of a claim, or a JSON Pointer, which begins with a slash. A
// claim whose own name does is written as a pointer: "/~1name".
func ParsePlace(text string) (Place, error) {
	pointer, isPointer := strings.CutPrefix(text, "/")
	if !isPointer {
		if text == "" {
			return nil, fmt.Errorf("it is empty")
		}
		return Place{text}, nil
	}
	if pointer == "" {
		return nil, fmt.Errorf("the pointer %q names the claim \"\", which no token has", text)
	}
	place := Place(strings.Split(pointer, "/"))
	for i, escaped := range place {
		bare := strings.NewReplacer("~0", "", "~1", "").Replace(escaped)
		if strings.Contains(bare, "~") {
			return nil, fmt.Errorf("the pointer %q has a ~ that is neither ~0 (for ~) nor ~1 (for /), see RFC 6901", text)
		}
		place[i] = strings.NewReplacer("~0", "~", "~1", "/").Replace(escaped)
	}
	return place, nil
}

// String is the place as [ParsePlace] reads it.
func (p Place) String() string {
	if len(p) == 1 && p[0] != "" && !strings.HasPrefix(p[0], "/") {
		return p[0]
	}
	var b strings.Builder
	for _, name := range p {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	}
	return b.String()
}

// ScopeClaims are where the scopes stand: the first element of which a place is present
// counts, with all its places joined. See [DefaultScopeClaims].
type ScopeClaims [][]Place

// DefaultScopeClaims are where scopes are looked for if nothing else is configured: scope
// (RFC 8693 §4.2, RFC 9068 §2.2.3), then scp.
func DefaultScopeClaims() ScopeClaims { return ScopeClaims{{{"scope"}}, {{"scp"}}} }

// Present reports whether the claims have one of the places, if only null.
func (s ScopeClaims) Present(claims Claims) bool {
	return slices.ContainsFunc(s, func(joined []Place) bool { return slices.ContainsFunc(joined, claims.hasPlace) })
}

// Without are the claims but those that hold a place.
func (s ScopeClaims) Without(claims Claims) Claims {
	var names []string
	for _, joined := range s {
		for _, place := range joined {
			names = append(names, place[0])
		}
	}
	return claims.Without(names...)
}

// states reports whether the claims have one of the places with something in it.
func (s ScopeClaims) states(claims Claims) bool {
	return slices.ContainsFunc(s, func(joined []Place) bool {
		return slices.ContainsFunc(joined, func(p Place) bool { value, present := claims.at(p); return present && value != nil })
	})
}

// scopes reads the scopes of the first element that is present. A null is present, and
// empty: to skip it would turn what was granted (scope) into what was only asked for (scp).
func (r Rules) scopes(claims Claims) ([]string, error) {
	places := r.ScopeClaims
	if len(places) == 0 {
		places = DefaultScopeClaims()
	}
	i := slices.IndexFunc(places, func(joined []Place) bool { return slices.ContainsFunc(joined, claims.hasPlace) })
	if i < 0 {
		return nil, nil
	}
	var all []string
	for _, place := range places[i] {
		list, err := claims.scopesAt(place)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return cleanScopes(all), nil
}

// scopesAt reads a string with spaces (RFC 8693 §4.2), the strings of an array, or the
// member names of an object, unless the member is false or null.
func (c Claims) scopesAt(place Place) ([]string, error) {
	if len(place) == 1 {
		if list, _, ok := c.Texts(place[0]); ok {
			return list, nil // without decoding all
		}
	}
	value, _ := c.at(place)
	switch value := value.(type) {
	case nil:
		return nil, nil
	case string:
		return strings.Split(value, " "), nil
	case []any:
		var list []string
		for _, element := range value {
			if s, ok := element.(string); ok {
				list = append(list, s)
			}
		}
		return list, nil
	case map[string]any:
		var list []string
		for name, granted := range value {
			if granted != nil && granted != false {
				list = append(list, name)
			}
		}
		slices.Sort(list)
		return list, nil
	default:
		return nil, Invalidf("%s holds no scopes: it is neither a string nor an array nor an object", place)
	}
}

func (c Claims) hasPlace(place Place) bool {
	if len(place) == 1 {
		return c.Has(place[0]) // without decoding it
	}
	_, present := c.at(place)
	return present
}

// at is what stands at a place. A null on the way to it is present, too.
func (c Claims) at(place Place) (value any, present bool) {
	if len(place) == 0 {
		return nil, false
	}
	value, present = c.Get(place[0])
	for _, name := range place[1:] {
		if !present || value == nil {
			return nil, present
		}
		switch within := value.(type) {
		case map[string]any:
			value, present = within[name]
		case []any:
			i, ok := index(name)
			if present = ok && i < len(within); present {
				value = within[i]
			}
		default:
			present = false
		}
	}
	return value, present
}

// index is an index into an array: digits without a leading zero (RFC 6901 §4).
func index(name string) (int, bool) {
	i, err := strconv.Atoi(name)
	return i, err == nil && strconv.Itoa(i) == name && i >= 0
}

// cleanScopes leaves out what is repeated, and what is no scope: such an element grants
// nothing, and takes nothing from the others.
func cleanScopes(list []string) []string {
	var scopes []string
	seen := make(map[string]bool, len(list))
	for _, s := range list {
		if s == "" || seen[s] || !IsScope(s) {
			continue
		}
		seen[s] = true
		scopes = append(scopes, s)
	}
	return scopes
}

// IsScope reports whether s is a scope-token of RFC 6749 §3.3.
func IsScope(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < 0x21 || c > 0x7E || c == '"' || c == '\\' })
}

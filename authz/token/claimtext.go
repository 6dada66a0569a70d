package token

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// askedClaims are the claims of an identity that were asked for as text. Claims are
// kept as JSON; to decode them for each request would be most of its cost.
type askedClaims struct {
	texts atomic.Pointer[[]claimText]
}

type claimText struct{ name, text string }

// ClaimText is a claim as text: a string, a number, a boolean or a list of strings,
// separated by spaces. What has no such form, and what is not there, is empty. The
// names must be few, such as those of a configuration: each is remembered.
func (id *Identity) ClaimText(name string) string {
	if id.asked == nil {
		return ""
	}
	known := id.asked.texts.Load()
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
	id.asked.texts.CompareAndSwap(known, &next) // who comes second decodes again
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

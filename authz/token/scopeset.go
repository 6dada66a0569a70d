package token

import (
	"runtime"
	"strings"
	"sync"
	"weak"
)

// scopeSet is the scopes of an identity. Many tokens have the same, so they are held once,
// for as long as an identity refers to them.
type scopeSet struct {
	text string // separated by spaces
	list []string
}

// scopeSets finds the sets in use by their text, as package unique would if lists could be
// compared.
var scopeSets sync.Map // string -> weak.Pointer[scopeSet]

// compact is the identity as it is cached. It is for those that a verifier has vouched
// for: what anybody can make up would be held, if only until the next collection.
func (id *Identity) compact() *Identity {
	if len(id.Scopes) == 0 || id.scopes != nil {
		return id
	}
	c := *id
	c.scopes = shareScopes(id.ScopeText())
	c.Scopes = c.scopes.list
	return &c
}

func shareScopes(text string) *scopeSet {
	var fresh *scopeSet
	for {
		known, found := scopeSets.Load(text)
		if found {
			if set := known.(weak.Pointer[scopeSet]).Value(); set != nil {
				return set
			}
			scopeSets.CompareAndDelete(text, known) // its cleanup has yet to run
		}
		if fresh == nil {
			text = strings.Clone(text)
			fresh = &scopeSet{text: text, list: strings.Split(text, " ")}
		}
		held := weak.Make(fresh)
		if _, loaded := scopeSets.LoadOrStore(text, held); !loaded {
			runtime.AddCleanup(fresh, func(text string) { scopeSets.CompareAndDelete(text, held) }, text)
			return fresh
		}
	}
}

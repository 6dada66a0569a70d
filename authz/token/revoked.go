package token

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// The kinds of a [Revocation], by what it names.
const (
	RevokedSubject = "subject"
	RevokedJTI     = "jti"
	RevokedClient  = "client"
	RevokedClaim   = "claim"
)

// Revocation ends tokens before they expire: those of a subject, a client or a claim's
// value, or one token by its jti.
type Revocation struct {
	Kind  string // RevokedSubject and so on
	Claim string // of RevokedClaim: its name
	Value string // which must be the token's

	Provider     string    // only tokens of this provider; empty: of any
	IssuedBefore time.Time // only tokens whose iat is before; zero: all
	Until        time.Time // when the entry ends; zero: never
	Place        string    // file:line:column
}

// String names the entry in reasons.
func (r *Revocation) String() string {
	name := r.Kind
	if r.Kind == RevokedClaim {
		name += " " + r.Claim
	}
	return fmt.Sprintf("%s: %s %s", r.Place, name, strconv.QuoteToGraphic(r.Value))
}

// Revoked are the tokens that no longer count. Nil has none. It doesn't change, so that
// what it says of an identity is remembered with the identity: a check of one that is
// known costs the comparison of two pointers, however many entries there are.
type Revoked struct {
	bySubject map[string][]*Revocation
	byJTI     map[string][]*Revocation
	byClient  map[string][]*Revocation
	byClaim   map[string]map[string][]*Revocation // by name and value
	size      int
	clean     *examined // of identities that no entry is about
}

// examined is what one list says of an identity.
type examined struct {
	list    *byte // names the list, and doesn't hold it
	entries []*Revocation
}

// NewRevoked makes a list.
func NewRevoked(entries []Revocation) *Revoked {
	r := &Revoked{
		bySubject: map[string][]*Revocation{}, byJTI: map[string][]*Revocation{}, byClient: map[string][]*Revocation{},
		byClaim: map[string]map[string][]*Revocation{}, size: len(entries), clean: &examined{list: new(byte)},
	}
	for i := range entries {
		e := &entries[i]
		switch e.Kind {
		case RevokedSubject:
			r.bySubject[e.Value] = append(r.bySubject[e.Value], e)
		case RevokedJTI:
			r.byJTI[e.Value] = append(r.byJTI[e.Value], e)
		case RevokedClient:
			r.byClient[e.Value] = append(r.byClient[e.Value], e)
		default:
			values := r.byClaim[e.Claim]
			if values == nil {
				values = map[string][]*Revocation{}
				r.byClaim[e.Claim] = values
			}
			values[e.Value] = append(values[e.Value], e)
		}
	}
	return r
}

// Len is how many entries the list has.
func (r *Revoked) Len() int {
	if r == nil {
		return 0
	}
	return r.size
}

// Find returns an entry that ends the identity's token, or nil.
func (r *Revoked) Find(id *Identity, now func() time.Time) *Revocation {
	if r == nil || r.size == 0 {
		return nil
	}
	for _, e := range r.examine(id).entries {
		if e.Until.IsZero() || now().Before(e.Until) {
			return e
		}
	}
	return nil
}

// examine is what the list says of an identity at any time.
func (r *Revoked) examine(id *Identity) *examined {
	if id.claims == nil { // then there is no place to remember it, and little to do
		return r.search(id)
	}
	known := id.claims.examined.Load()
	if known == nil || known.list != r.clean.list {
		known = r.search(id)
		id.claims.examined.Store(known)
	}
	return known
}

func (r *Revoked) search(id *Identity) *examined {
	named := slices.Concat(r.bySubject[id.Subject], r.byClient[id.ClientID])
	var claims map[string]any
	if len(r.byJTI)+len(r.byClaim) > 0 {
		claims = id.Claims()
		if jti, ok := claims["jti"].(string); ok {
			named = append(named, r.byJTI[jti]...)
		}
		for name, values := range r.byClaim {
			for _, text := range claimTexts(claims[name]) {
				named = append(named, values[text]...)
			}
		}
	}
	about := slices.DeleteFunc(named, func(e *Revocation) bool { return !e.about(id) })
	if len(about) == 0 {
		return r.clean
	}
	return &examined{r.clean.list, about}
}

// about reports whether an entry whose name fits is about the token. One that doesn't say
// when it was issued may be of any age.
func (r *Revocation) about(id *Identity) bool {
	if r.Provider != "" && r.Provider != id.Provider {
		return false
	}
	if r.IssuedBefore.IsZero() {
		return true
	}
	issued, known := id.issued()
	return !known || issued.Before(r.IssuedBefore)
}

// issued is when the token was issued, if it says so.
func (id *Identity) issued() (at time.Time, known bool) {
	switch iat := id.Claims()["iat"].(type) {
	case int64:
		return time.Unix(iat, 0), true
	case float64:
		return time.Unix(int64(iat), 0), true
	}
	return time.Time{}, false
}

// claimTexts is a claim as the texts that an entry may name: of a list each element.
func claimTexts(claim any) []string {
	list, isList := claim.([]any)
	if !isList {
		list = []any{claim}
	}
	var texts []string
	for _, element := range list {
		switch v := element.(type) {
		case string:
			texts = append(texts, v)
		case nil, []any, map[string]any:
		default:
			text, _ := textOf(v)
			texts = append(texts, text)
		}
	}
	return texts
}

// standing replaces the identity of a token that is revoked by the error. It is asked of
// all that the cache, the store and the providers say, so that a list counts at once.
func (v *Validator) standing(result Result, err error) (Result, error) {
	if err != nil || result.Identity == nil {
		return result, err
	}
	if entry := v.opts.Revoked.Find(result.Identity, v.opts.Now); entry != nil {
		result.Identity, result.Revoked = nil, entry
		return result, entry.refusal()
	}
	return result, nil
}

func (r *Revocation) refusal() error {
	return &InvalidError{Reason: "it is revoked by " + r.String(), NoCache: true}
}

// Refusal is the error of an identity's token if it is revoked, else nil.
func (r *Revoked) Refusal(id *Identity, now func() time.Time) error {
	if entry := r.Find(id, now); entry != nil {
		return entry.refusal()
	}
	return nil
}

package inspect

import (
	"errors"
	"time"

	"scopeward/authz/token"
	"scopeward/authz/token/revocation"
	"scopeward/internal/strictyaml"
	"scopeward/policy"
	"scopeward/policy/explain"
)

// Revoke makes the question's token invalid if an entry of the files is about it.
func Revoke(q *explain.Question, files []string) error {
	var entries []token.Revocation
	for _, name := range files {
		data, unreadable := strictyaml.ReadFile(name)
		if unreadable != nil {
			return unreadable
		}
		more, problems := revocation.Parse(name, data, nil)
		if len(problems) > 0 {
			return problems
		}
		entries = append(entries, more...)
	}
	if q.Identity == nil {
		return nil
	}
	claims, err := token.NewClaims(q.Identity.Claims)
	if err != nil {
		return err
	}
	id := &token.Identity{Subject: q.Identity.Subject, ClientID: q.Identity.ClientID, Issuer: q.Identity.Issuer, Provider: q.Identity.Provider}
	id.SetClaims(claims)
	if invalid, ok := errors.AsType[*token.InvalidError](token.NewRevoked(entries).Refusal(id, time.Now)); ok {
		q.Token, q.TokenFault, q.Identity = policy.TokenInvalid, invalid.Reason, nil
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"strings"

	"scopeward/internal/admin/page"
	"scopeward/policy/explain"
)

// pageAnswer is what the page's form is told: what policy explain says, and of a token
// what token inspect does, but for its content.
type pageAnswer struct {
	Explanation *explain.Explanation `json:"explanation"`
	Text        string               `json:"text"` // the same for people
	Token       *pageToken           `json:"token,omitempty"`
}

type pageToken struct {
	Verdict  string             `json:"verdict"`
	Reason   string             `json:"reason,omitempty"`
	Provider string             `json:"provider,omitempty"`
	Checks   []inspectedCheck   `json:"checks"`
	Identity *inspectedIdentity `json:"identity,omitempty"`
}

// explain answers the page's form by the policy in force. A token is verified as a
// request's is, without the cache and the rate limit.
func (s *service) explain(ctx context.Context, q page.Question) (any, error) {
	if q.Token != "" && q.Valid {
		return nil, errors.New("give a token, or what a valid one would hold, not both")
	}
	o := explainOptions{scopes: q.Scopes, claims: q.Claims, headers: q.Headers, clientIP: q.ClientIP}
	snapshot, config := s.server.Snapshot(), s.state.Load().Config
	o.name = explain.OnlyPolicy(snapshot.Policy)
	asked, err := o.request(q.Method, q.URL)
	if err == nil && q.Valid {
		err = o.withClaims(&asked)
	}
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "--"))
	}
	if q.Token != "" {
		i := inspector{config: config, validator: snapshot.Validator, policy: snapshot.Policy}
		raw := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(q.Token), "Bearer "))
		found := i.inspect(ctx, raw)
		i.decide(&found, asked)
		return pageAnswer{found.Request, found.Request.String(), &pageToken{found.Verdict, found.Reason, found.Provider, found.Checks, found.Identity}}, nil
	}
	e, out := explain.Explain(snapshot.Policy, asked)
	e.Response = response(out, config)
	return pageAnswer{Explanation: &e, Text: e.String()}, nil
}

package serve

import (
	"context"
	"errors"
	"strings"

	"scopeward/internal/admin/page"
	"scopeward/internal/inspect"
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
	Verdict  string            `json:"verdict"`
	Reason   string            `json:"reason,omitempty"`
	Provider string            `json:"provider,omitempty"`
	Checks   []inspect.Check   `json:"checks"`
	Identity *inspect.Identity `json:"identity,omitempty"`
}

// explain answers the page's form by the policy in force. A token is verified as a
// request's is, without the cache and the rate limit.
func (s *service) explain(ctx context.Context, q page.Question) (any, error) {
	if q.Token != "" && q.Valid {
		return nil, errors.New("give a token, or what a valid one would hold, not both")
	}
	o := inspect.Question{Scopes: q.Scopes, Claims: q.Claims, Headers: q.Headers, ClientIP: q.ClientIP}
	snapshot, config := s.server.Snapshot(), s.state.Load().Config
	o.Policy = explain.OnlyPolicy(snapshot.Policy) // the page has no field for it
	asked, err := o.Request(q.Method, q.URL)
	presented := inspect.Present(&asked, config)
	if err == nil && q.Valid {
		err = o.WithClaims(&asked)
	}
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "--"))
	}
	if q.Token == "" && !q.Valid {
		q.Token = presented.Raw
	}
	if q.Token != "" {
		i := inspect.With(config, snapshot.Validator, snapshot.Policy)
		raw := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(q.Token), "Bearer "))
		found := i.Inspect(ctx, raw)
		i.Decide(&found, asked, presented)
		found.Request.Notes = policyNotes(o.Policy)
		return pageAnswer{found.Request, found.Request.String(), &pageToken{found.Verdict, found.Reason, found.Provider, found.Checks, found.Identity}}, nil
	}
	e, _ := presented.Explain(snapshot.Policy, asked, config)
	e.Notes = policyNotes(o.Policy)
	return pageAnswer{Explanation: &e, Text: e.String()}, nil
}

// policyNotes says which policy is asked if it is not the default one.
func policyNotes(name string) []string {
	if name == "" {
		return nil
	}
	return []string{"asked under the policy " + name + ", as there is no other; the server denies a request that does not name it"}
}

package config

import (
	"slices"

	"scopeward/authz"
	"scopeward/authz/token/binding"
	"scopeward/policy"
)

// Snapshot is what the configuration alone says of answers, for the server and for tools
// that explain them; set is the policy, whose scopes are published.
func (c *Config) Snapshot(set *policy.Set) *authz.Snapshot {
	return &authz.Snapshot{
		Policy:           set,
		Credentials:      c.Credentials,
		Answers:          c.Answers,
		Headers:          c.Headers,
		IdentityToken:    c.IdentityToken,
		Realm:            c.Realm,
		ResourceMetadata: c.ResourceMetadata,
		Resources:        c.published(set),
		OfferDPoP:        c.DPoP.Offer,
		TrustXFCC:        c.Listen.TrustXFCC,
		Hops:             c.RateLimit.Hops,
		Sampling:         authz.Sample(c.Audit.Sample),
	}
}

// published are the documents of the resources.
func (c *Config) published(set *policy.Set) []authz.Metadata {
	common := authz.Resource{BearerMethods: c.Credentials.BearerMethods()}
	for _, p := range c.Providers {
		if p.Validation != ValidateAPIKeys { // which nobody issues
			common.AuthorizationServers = append(common.AuthorizationServers, p.Issuer)
		}
	}
	if c.DPoP.Offer {
		common.ProofAlgorithms = binding.Algorithms()
	}
	required := func(p Provider) bool { return p.MustBeBound }
	common.ByCertificate = c.Listen.TrustXFCC || slices.ContainsFunc(c.Providers, required)
	common.MustBeBound = !slices.ContainsFunc(c.Providers, func(p Provider) bool { return !p.MustBeBound })
	for _, rule := range set.Rules() {
		common.Scopes = append(append(common.Scopes, rule.Scopes...), rule.AnyScopes...)
	}
	slices.Sort(common.Scopes)
	common.Scopes = slices.Compact(common.Scopes)
	var documents []authz.Metadata
	for _, r := range c.Resources {
		document := common
		document.Identifier, document.Name, document.Documentation = r.Identifier, r.Name, r.Documentation
		if m, err := authz.NewMetadata(document); err == nil { // the configuration is validated
			documents = append(documents, m)
		}
	}
	return documents
}

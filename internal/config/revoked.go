package config

import (
	"encoding/hex"

	"scopeward/authz/token"
	"scopeward/authz/token/revocation"
	"scopeward/internal/strictyaml"
)

// Revoked are the tokens that no longer count. Version tells lists apart.
type Revoked struct {
	List    *token.Revoked
	Version string
}

// readRevoked reads the files of revoked.
func (c *Config) readRevoked() (Revoked, strictyaml.Problems) {
	var entries []token.Revocation
	var texts [][]byte
	providers := []string{}
	for _, p := range c.Providers {
		providers = append(providers, p.Name)
	}
	paths, problems := c.document.existing("revoked", c.document.Revoked)
	for _, path := range paths {
		data, unreadable := strictyaml.ReadFile(path)
		if unreadable != nil {
			problems = append(problems, unreadable...)
			continue
		}
		more, broken := revocation.Parse(path, data, providers)
		problems = append(problems, broken...)
		entries, texts = append(entries, more...), append(texts, []byte(path), data)
	}
	if len(paths) == 0 {
		return Revoked{}, problems
	}
	sum := digest(texts...)
	return Revoked{token.NewRevoked(entries), hex.EncodeToString(sum[:])}, problems
}

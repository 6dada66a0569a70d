package config

import (
	"errors"
	"strings"

	"scopeward/authz/token/apikey"
	"scopeward/internal/strictyaml"
)

// apiKeysSection is a file of keys of the operator's own.
type apiKeysSection struct {
	File located `yaml:"file" doc:"The file of the keys' hashes, which scopeward apikey new makes. It is read again when it changes." examples:"[keys.yaml]"`
}

// apiKeys checks the settings of validation api_keys. What else is written of the provider
// would have no effect.
func (v *validator) apiKeys(p providerSection, pos func(located) strictyaml.Pos) {
	if p.Validation.Value != ValidateAPIKeys {
		if p.APIKeys.File.Pos.Line > 0 {
			v.add(p.APIKeys.File.Pos, "provider %q: api_keys has no effect with validation: %s; write validation: api_keys, or remove it", p.Name.Value, p.Validation.Value)
		}
		return
	}
	if p.APIKeys.File.Value == "" {
		v.add(pos(p.APIKeys.File), "provider %q has no api_keys.file: make one with scopeward apikey new --id ID --file keys.yaml, and name it", p.Name.Value)
	}
	if p.Tokens.Value == "jwt" {
		v.add(pos(p.Validation), "provider %q: API keys are no JWTs: remove opaque: false", p.Name.Value)
	}
	if len(p.Audiences) > 0 {
		v.add(pos(located{}), "provider %q: audiences has no effect with validation: api_keys: a key is for this service; remove it", p.Name.Value)
	}
	for _, s := range []struct {
		name string
		located
	}{{"ca", p.CA}, {"purpose", p.Purpose}, {"email", p.Email}} {
		if s.Pos.Line > 0 {
			v.add(s.Pos, "provider %q: %s has no effect with validation: api_keys; remove it", p.Name.Value, s.name)
		}
	}
}

// read reads the keys. Mistakes in the file stand where they are.
func (a apiKeysSection) read(v *validator, dir string) ([]apikey.Entry, []byte) {
	if a.File.Value == "" {
		return nil, nil
	}
	name := absolute(dir, string(a.File.Value))
	data, unreadable := strictyaml.ReadFile(name)
	if unreadable != nil {
		v.add(a.File.Pos, "api_keys.file: %v", unreadable)
		return nil, nil
	}
	entries, err := apikey.Parse(name, data)
	if problems, ok := errors.AsType[strictyaml.Problems](err); ok {
		v.problems = append(v.problems, problems...)
	} else if err != nil {
		v.add(a.File.Pos, "api_keys.file: %s", strings.TrimSpace(err.Error()))
	}
	return entries, data
}

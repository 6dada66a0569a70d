package config

import (
	"fmt"
	"slices"
	"strings"

	"scopeward/authz/answer"
	"scopeward/authz/credential"
	"scopeward/internal/strictyaml"
)

// credentialSection is a place where a request may have its credential: the text bearer,
// or a mapping.
type credentialSection struct {
	Header      located   `yaml:"header" doc:"A header whose whole value is the token." examples:"[x-forwarded-access-token]"`
	Cookie      located   `yaml:"cookie" doc:"A cookie whose value is the token." examples:"[__Host-access_token]"`
	Origins     []located `yaml:"origins" doc:"For a cookie: the origins of other sites whose pages may send requests. A request's own origin always counts." examples:"[['https://app.acme.dev']]"`
	Query       located   `yaml:"query" doc:"A parameter of the query whose value is the token. Logs in front of Scopeward may show it: prefer another place." examples:"[access_token]"`
	Subprotocol located   `yaml:"subprotocol" doc:"The WebSocket subprotocol after which the token stands in Sec-WebSocket-Protocol." examples:"[bearer]"`

	text string // what stands there instead of a mapping
}

// SetText takes the short form.
func (c *credentialSection) SetText(s string) error {
	expanded, err := expand(s)
	c.text = expanded
	return err
}

// MarshalYAML writes it as it was written.
func (c credentialSection) MarshalYAML() (any, error) {
	if c.text != "" {
		return c.text, nil
	}
	shown := map[string]any{}
	for _, k := range c.keys() {
		if k.name.Pos.Line > 0 {
			shown[k.key] = k.name
		}
	}
	if c.Origins != nil {
		shown["origins"] = c.Origins
	}
	return shown, nil
}

type credentialKey struct {
	key  string
	kind credential.Kind
	name located
}

func (c credentialSection) keys() []credentialKey {
	return []credentialKey{
		{"header", credential.Header, c.Header},
		{"cookie", credential.Cookie, c.Cookie},
		{"query", credential.Query, c.Query},
		{"subprotocol", credential.Subprotocol, c.Subprotocol},
	}
}

func (credentialSection) AmendSchema(s strictyaml.JSONSchema) {
	either := s["anyOf"].([]strictyaml.JSONSchema)
	orReference(either[0], oneOf([]string{"bearer"}))
	mapping := either[1]
	var keys []strictyaml.JSONSchema
	for _, k := range (credentialSection{}).keys() {
		keys = append(keys, strictyaml.JSONSchema{"required": []string{k.key}})
		mapping.Property(k.key)["minLength"] = 1
	}
	mapping["oneOf"] = keys
	mapping["dependentRequired"] = map[string]any{"origins": []string{"cookie"}}
}

// readCredentials validates where credentials are, and resolves it.
func (v *validator) readCredentials(d *document) credential.Places {
	var p credential.Places
	if d.Credentials != nil && len(d.Credentials.Value) == 0 {
		v.add(d.Credentials.Pos, "credentials is empty, and nobody could show who they are: name a place, or remove the key for bearer")
		return p
	}
	if d.Credentials != nil {
		for _, l := range d.Credentials.Value {
			place, ok := v.credential(l)
			if ok && v.placeIsFree(d, p.List, place, l.Pos) {
				p.List = append(p.List, place)
			}
		}
	}
	if len(p.List) == 1 && p.List[0].Kind == credential.Bearer {
		p.List = nil // the default
	}
	p.Withhold = d.ForwardCredential != nil && !d.ForwardCredential.Value
	if p.Withhold && len(p.List) > 0 && !p.Has(credential.Bearer) && !p.Has(credential.Header) {
		v.add(d.ForwardCredential.Pos, "forward_credential: false has no effect: credentials of a cookie, the query or a subprotocol never go upstream; remove it")
	}
	return p
}

func (v *validator) credential(l strictyaml.Located[credentialSection]) (place credential.Place, ok bool) {
	const help = "write bearer, or header, cookie, query or subprotocol with a name, as in cookie: access_token"
	c := l.Value
	switch c.text {
	case "":
	case "bearer":
		return credential.Place{}, true
	default:
		v.add(l.Pos, "credentials: %q is no place of a credential: %s", c.text, help)
		return place, false
	}
	for _, k := range c.keys() {
		switch {
		case k.name.Pos.Line == 0:
			continue
		case ok:
			v.add(k.name.Pos, "credentials: one entry is one place: write %s as an entry of its own", k.key)
			return place, false
		}
		place, ok = credential.Place{Kind: k.kind, Name: string(k.name.Value)}, true
		if k.kind == credential.Header {
			place.Name = strings.ToLower(place.Name)
		}
		if fault := place.Fault(); fault != "" {
			v.add(k.name.Pos, "credentials: %s: %s", k.key, fault)
			return place, false
		}
	}
	if !ok {
		v.add(l.Pos, "credentials: an entry names no place: %s", help)
		return place, false
	}
	if len(c.Origins) > 0 && place.Kind != credential.Cookie {
		v.add(c.Origins[0].Pos, "credentials: origins has no effect without cookie: browsers send only cookies by themselves")
		return place, false
	}
	for _, written := range c.Origins {
		origin, err := credential.ParseOrigin(string(written.Value))
		if err != nil {
			v.add(written.Pos, "credentials: origins: %q is none: %v", written.Value, err)
			continue
		}
		place.Origins = append(place.Origins, origin)
	}
	return place, true
}

// placeIsFree refuses a place that is named twice, or where an identity header goes.
func (v *validator) placeIsFree(d *document, others []credential.Place, place credential.Place, pos strictyaml.Pos) bool {
	for _, other := range others {
		if place.Clashes(other) {
			v.add(pos, "credentials: %s is there twice, perhaps in another spelling", place)
			return false
		}
	}
	taken := place.UpstreamHeader()
	for name, field := range d.Headers {
		if taken != "" && strings.ReplaceAll(strings.ToLower(name), "_", "-") == strings.ReplaceAll(taken, "_", "-") {
			v.add(field.Pos, "header %s can't carry %s: %s", strings.ToLower(name), field.Value, fmt.Sprintf("the credential may be there (%s)", place))
			return false
		}
	}
	return true
}

// LooksAt are the headers of requests that the service looks at, in lower case: where
// credentials may be, and what answers ask for. Policies may ask for more.
func (c *Config) LooksAt() []string {
	names := c.Credentials.Looked()
	if len(c.Answers) > 0 {
		names = append(names, "content-type") // of gRPC
	}
	if slices.ContainsFunc(c.Answers, func(e answer.Entry) bool { return e.Accept != "" }) {
		names = append(names, "accept")
	}
	if c.Listen.TrustXFCC {
		names = append(names, "x-forwarded-client-cert")
	}
	return names
}

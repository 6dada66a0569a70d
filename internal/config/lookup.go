package config

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"scopeward/authz/token/clientauth"
	"scopeward/authz/token/lookup"
	"scopeward/internal/expression"
	"scopeward/internal/strictyaml"
)

// lookupSection is an endpoint that tells whether a credential is good.
type lookupSection struct {
	URL           located                                        `yaml:"url" doc:"The endpoint. Its redirects are not followed." examples:"['https://acme.kinde.com/api/v1/api_keys/verify']"`
	Method        located                                        `yaml:"method" doc:"GET or POST; by default POST with json or form, else GET. A GET sends the credential as a bearer token unless query names {token}."`
	JSON          strictyaml.Located[map[string]any]             `yaml:"json" doc:"The body of a POST, a JSON object. {token} within its texts stands for the credential." examples:"[{api_key: '{token}'}]"`
	Form          map[string]strictyaml.Located[Secret]          `yaml:"form" doc:"The body of a POST as a form. {token} stands for the credential; other values may be file:PATH or ${NAME}." examples:"[{token: '{token}'}]"`
	Query         map[string]strictyaml.Located[Secret]          `yaml:"query" doc:"Parameters of the URL. {token} stands for the credential; other values may be file:PATH or ${NAME}." examples:"[{access_token: '{token}'}]"`
	Auth          located                                        `yaml:"auth" default:"none" doc:"How Scopeward says who it is, as for introspection. none: the credential is the only one, so that 401 refuses it. With another, 401 and 403 refuse Scopeward, and tell nothing of the credential."`
	Valid         strictyaml.Text                                `yaml:"valid" doc:"Whether the credential is valid: CEL over status and body, which is null where an answer other than 2xx is no JSON. 429 and 5xx are unavailable before it is asked." examples:"['status == 200 && body.is_valid']"`
	Claims        strictyaml.Located[map[string]strictyaml.Text] `yaml:"claims" doc:"The claims of a valid credential, each CEL over status and body. body.?name is absent where there is no such member. They are then checked like those of a token." examples:"[{sub: body.user_id, scope: body.scopes}]"`
	clientSection `yaml:",inline"`

	meaning lookup.Meaning // compiled from Valid and Claims
}

// written is a key of the section that somebody wrote.
func (l lookupSection) written() []located {
	all := []located{l.URL, l.Method, l.Auth, {Pos: l.JSON.Pos}, {Pos: l.Valid.Pos}, {Pos: l.Claims.Pos}}
	for _, texts := range []map[string]strictyaml.Located[Secret]{l.Form, l.Query} {
		for _, text := range texts {
			all = append(all, located{Pos: text.Pos})
		}
	}
	return append(all, l.clientSection.written()...)
}

func (l *lookupSection) setDefaults() {
	setDefault(&l.Auth, clientauth.None)
	if l.JSON.Value != nil || l.Form != nil {
		setDefault(&l.Method, http.MethodPost)
	}
	setDefault(&l.Method, http.MethodGet)
}

// request is how the endpoint is asked. read gives what a text stands for.
func (l lookupSection) request(read func(strictyaml.Located[Secret]) string) lookup.Request {
	texts := func(from map[string]strictyaml.Located[Secret]) map[string]string {
		to := map[string]string{}
		for name, value := range from {
			to[name] = read(value)
		}
		return to
	}
	return lookup.Request{
		URL: string(l.URL.Value), Method: string(l.Method.Value), Query: texts(l.Query), Form: texts(l.Form), JSON: l.JSON.Value,
	}
}

// secrets are the values that may stand in files.
func (l lookupSection) secrets() []Secret {
	all := l.clientSection.secrets()
	for _, texts := range []map[string]strictyaml.Located[Secret]{l.Form, l.Query} {
		for _, text := range texts {
			all = append(all, text.Value)
		}
	}
	return all
}

// lookup checks the settings of validation lookup, and compiles its expressions.
func (v *validator) lookup(p *providerSection, pos func(located) strictyaml.Pos) {
	l := &p.Lookup
	if l.URL.Value == "" {
		v.add(pos(l.URL), "provider %q has no lookup.url: it is the endpoint that tells whether a credential is good", p.Name.Value)
	} else {
		v.url("lookup.url", located{Value: l.URL.Value, Pos: pos(l.URL)}, p.Insecure)
	}
	if strings.Contains(string(l.URL.Value), lookup.Placeholder) {
		v.add(pos(l.URL), "lookup.url can't name {token}: URLs show in logs and errors; write it in query, form or json")
	}
	v.oneOf("lookup.method", located{Value: l.Method.Value, Pos: pos(l.Method)}, http.MethodGet, http.MethodPost)
	v.lookupBody(l, pos)
	v.client("lookup", l.Auth, l.clientSection, p.Insecure, pos)
	v.meaning(l, pos)
}

// lookupBody checks that what is sent can be, and that the credential is in it.
func (v *validator) lookupBody(l *lookupSection, pos func(located) strictyaml.Pos) {
	r := l.request(func(text strictyaml.Located[Secret]) string { return string(text.Value) })
	body := located{Pos: l.JSON.Pos}
	if names := slices.Sorted(maps.Keys(l.Form)); l.JSON.Value == nil && len(names) > 0 {
		body.Pos = l.Form[names[0]].Pos
	}
	inForm := []string{clientauth.Post, clientauth.PrivateKey}
	switch {
	case l.JSON.Value != nil && reference.MatchString(fmt.Sprint(l.JSON.Value)):
		v.add(pos(body), "lookup.json takes no ${NAME}: say who Scopeward is by auth, or write form or query")
	case l.JSON.Value != nil && l.Form != nil:
		v.add(pos(body), "lookup has json and form; keep one")
	case r.Method == http.MethodGet && (l.JSON.Value != nil || l.Form != nil):
		v.add(pos(body), "lookup.json and form have no effect with method: GET; write method: POST, or query")
	case r.Method == http.MethodPost && !r.Names():
		v.add(pos(l.Method), "lookup sends the credential nowhere: write {token} in json, form or query")
	case l.Auth.Value != clientauth.None && !r.Names():
		v.add(pos(l.Auth), "lookup sends the credential nowhere, since the Authorization header is Scopeward's own: write {token} in json, form or query, or auth: none")
	case l.Auth.Value == clientauth.None && l.ClientID.Pos.Line > 0:
		v.add(l.ClientID.Pos, "lookup.client_id has no effect with auth: none; remove it, or write the auth that it is for")
	case slices.Contains(inForm, string(l.Auth.Value)) && (l.JSON.Value != nil || r.Method == http.MethodGet):
		v.add(pos(l.Auth), "lookup.auth: %s says who Scopeward is in a form: write form, or another auth", l.Auth.Value)
	}
}

// lookupVariables are what valid and claims are about.
func lookupVariables() map[string]*cel.Type {
	return map[string]*cel.Type{"status": cel.IntType, "body": cel.DynType}
}

// meaning compiles valid and claims.
func (v *validator) meaning(l *lookupSection, pos func(located) strictyaml.Pos) {
	if l.Valid.Value == "" {
		v.add(pos(located{Pos: l.Valid.Pos}), "lookup has no valid: it says in CEL when a credential is good, as in status == 200 && body.active")
	}
	if len(l.Claims.Value) == 0 {
		v.add(pos(located{Pos: l.Claims.Pos}), "lookup has no claims: they say in CEL who a credential stands for, as in claims: {sub: body.user_id}")
	}
	if l.Valid.Value == "" || len(l.Claims.Value) == 0 {
		return
	}
	compile := func(what string, text strictyaml.Text, wanted *cel.Type) *expression.Expression {
		compiled, problems := expression.Compile(what, text, lookupVariables(), wanted)
		for _, p := range problems {
			v.add(pos(located{Pos: p.Pos}), "%s", p.Message)
		}
		return compiled
	}
	before := len(v.problems)
	valid := compile("lookup.valid", l.Valid, cel.BoolType)
	claims := map[string]*expression.Expression{}
	for _, name := range slices.Sorted(maps.Keys(l.Claims.Value)) {
		claims[name] = compile("lookup.claims."+name, l.Claims.Value[name], cel.DynType)
	}
	if len(v.problems) > before {
		return
	}
	l.meaning = lookup.Meaning{Valid: validBy(valid), Claims: claimsBy(claims)}
}

func variablesOf(a lookup.Answer) map[string]any {
	variables := map[string]any{"status": a.Status, "body": nil}
	if a.Body != nil {
		variables["body"] = expression.JSON{}.NativeToValue(a.Body)
	}
	return variables
}

func validBy(e *expression.Expression) func(lookup.Answer) (bool, error) {
	return func(a lookup.Answer) (bool, error) {
		value, _, err := e.Eval(variablesOf(a))
		good, ok := value.(bool)
		if err == nil && !ok {
			err = fmt.Errorf("it gives no bool")
		}
		return good && err == nil, err
	}
}

func claimsBy(all map[string]*expression.Expression) func(lookup.Answer) (map[string]any, error) {
	return func(a lookup.Answer) (map[string]any, error) {
		claims, variables := map[string]any{}, variablesOf(a)
		for name, e := range all {
			value, present, err := e.Eval(variables)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if present {
				claims[name] = value
			}
		}
		return claims, nil
	}
}

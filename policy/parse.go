package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"scopeward/internal/strictyaml"
)

// File is a policy file that has been read.
type File struct {
	Name string // for positions; its base name without extension names the policy
	Data []byte
}

// fileYAML is a policy file as it is written. What its tags can't say is in
// schema.go.
type fileYAML struct {
	Version   strictyaml.Located[int]                                `yaml:"version,required" doc:"The version of this format: 1."`
	Name      strictyaml.Located[string]                             `yaml:"name" doc:"Makes this a policy of its own, for the routes that name it in Envoy's context_extensions (policy: NAME). Files without a name are the default policy together." examples:"[admin]"`
	Paths     pathsYAML                                              `yaml:"paths" doc:"What paths may have, besides the usual."`
	Preflight strictyaml.Located[string]                             `yaml:"preflight" enum:"public" doc:"public: lets browsers' CORS preflight requests (OPTIONS with Origin and Access-Control-Request-Method) pass without a token, where a rule of this file is for the method that they ask for and does not deny. Patterns that name OPTIONS win."`
	Rules     strictyaml.Located[[]strictyaml.Located[ruleYAML]]     `yaml:"rules,required" doc:"The rules. Their order does not matter: the most specific pattern wins, and what no rule matches is denied."`
	Tests     strictyaml.Located[[]strictyaml.Located[testCaseYAML]] `yaml:"tests" doc:"Requests and the answers that they must get, for scopeward policy test."`
}

// Stranger recognises a configuration.
func (*fileYAML) Stranger(has func(key string) bool) string {
	if has("providers") && !has("rules") {
		return "this is a configuration, not a policy: give it by --config, and keep it out of folders of policies"
	}
	return ""
}

type pathsYAML struct {
	Allow []string `yaml:"allow" enum:"encoded_slash|escaped_unreserved" default:"[]" doc:"Forms of paths that are refused otherwise (400 invalid_path). encoded_slash: %2F within one {segment}. escaped_unreserved: escapes of letters, digits, - _ and ~ (/%7Euser), for clients that can't help it; Envoy's routes don't decode them, so none of its routes may differ by path."`
}

// ruleYAML is public, denied, or asks for a token and what its conditions say.
type ruleYAML struct {
	Match     strictyaml.Located[strictyaml.OneOrMore[strictyaml.Located[string]]] `yaml:"match,required" doc:"One or more patterns, [METHOD ][HOST]/PATH as in Go's ServeMux: {name} is one segment, {name...} the rest, {$} the end, a path that ends in / all below it. GET is HEAD too. A host may begin with {name}, for any one label." examples:"['GET /users/{id}', [/healthz, 'GET /public/{path...}'], 'admin.example.com/{path...}']"`
	Name      strictyaml.Located[string]                                           `yaml:"name" doc:"The action in audit events and metrics; without it the pattern." examples:"[Read a user]"`
	Public    strictyaml.Located[bool]                                             `yaml:"public" doc:"true: no token is needed. Excludes deny and all conditions."`
	Deny      strictyaml.Located[bool]                                             `yaml:"deny" doc:"true: nobody may. Excludes public and all conditions."`
	Optional  strictyaml.Located[bool]                                             `yaml:"optional" doc:"true: without a credential the request passes, as nobody; with one, it must be valid and meet the rest of the rule. Excludes public and deny."`
	Scopes    strictyaml.Located[[]strictyaml.Located[string]]                     `yaml:"scopes" doc:"The token needs all of these scopes." examples:"[['read:users']]"`
	AnyScopes strictyaml.Located[[]strictyaml.Located[string]]                     `yaml:"any_scopes" doc:"The token needs at least one of these scopes." examples:"[['read:users', admin]]"`
	ACR       strictyaml.Located[strictyaml.OneOrMore[strictyaml.Located[string]]] `yaml:"acr" doc:"The token's user must have signed in by one of these authentication contexts (acr), the best first; else the client is told to have them sign in again (RFC 9470)." examples:"['urn:example:mfa', ['urn:example:hardware', 'urn:example:mfa']]"`
	MaxAge    strictyaml.Located[time.Duration]                                    `yaml:"max_age" doc:"The token's user must have signed in (auth_time) not longer ago, in whole seconds; else the client is told to have them sign in again (RFC 9470)." examples:"[5m]"`
	When      strictyaml.Text                                                      `yaml:"when" doc:"A CEL condition that must be true, over path.NAME of the pattern's segments, host.NAME of its host, identity.subject .scopes .email .client_id .issuer .provider .claims, and request.method .host .path .query .headers .client_ip .peer.principal .peer.address .json. An error in it denies." examples:"[path.id == identity.subject, '\"admin\" in identity.scopes']"`
	Mode      strictyaml.Located[string]                                           `yaml:"mode" enum:"enforce|audit" default:"enforce" doc:"audit: what the rule would deny passes, and is recorded; for trying a rule out."`
}

// testCaseYAML is a test of a policy as it is written.
type testCaseYAML struct {
	Request  strictyaml.Located[string]                       `yaml:"request,required" doc:"METHOD /path or METHOD https://host/path." examples:"[GET /users, 'GET https://admin.example.com/']"`
	Scopes   strictyaml.Located[[]strictyaml.Located[string]] `yaml:"scopes" doc:"The scopes of a valid token; [] for one without any."`
	Claims   strictyaml.Located[map[string]any]               `yaml:"claims" doc:"The claims of a valid token." examples:"[{sub: kp_1, org_code: org_1}]"`
	Headers  strictyaml.Located[map[string]string]            `yaml:"headers" doc:"The headers of the request, without authorization."`
	Peer     peerYAML                                         `yaml:"peer" doc:"Who has connected to Envoy."`
	Sent     strictyaml.Located[any]                          `yaml:"body" doc:"The body of the request: text as it is, or what is sent as JSON. Its content-type is that of JSON unless headers name another." examples:"[{method: tools/call, params: {name: search}}]"`
	LoggedIn strictyaml.Located[time.Duration]                `yaml:"logged_in" doc:"How long ago the user of a valid token has signed in: its claim auth_time is that much before the test." examples:"[4m]"`
	Token    strictyaml.Located[string]                       `yaml:"token" enum:"none|invalid|expired" doc:"The token, if it is not a valid one. A test with scopes or claims has a valid token, one without has none."`
	Expect   string                                           `yaml:"expect,required" enum:"allow|missing_token|invalid_token|insufficient_scope|insufficient_user_authentication|access_denied|invalid_path" doc:"The answer: allow, or the code of the error."`
	Rule     strictyaml.Located[string]                       `yaml:"rule" doc:"The name or a pattern of the rule that must match."`
	Status   strictyaml.Located[int]                          `yaml:"expect_status" doc:"The status that the client must get for a denial, such as 302 by answers: of the configuration that policy test is given." examples:"[302]"`
	Body     strictyaml.Located[string]                       `yaml:"expect_body" doc:"What the body of the denial must contain." examples:"['insufficient_scope']"`
}

// peerYAML is who has connected to Envoy in a test.
type peerYAML struct {
	Principal string `yaml:"principal" doc:"The name in their certificate." examples:"['spiffe://cluster.local/ns/shop/sa/web']"`
	Address   string `yaml:"address" doc:"Their address." examples:"['10.0.0.7']"`
}

// Parse compiles policy files into a set. Its error is strictyaml.Problems with
// all mistakes of all files; there is no set then.
func Parse(files ...File) (*Set, error) {
	p := &parser{sum: sha256.New(), unreadable: map[strictyaml.Pos]bool{}}
	if len(files) == 0 {
		p.problem(strictyaml.Pos{File: "policy"}, "no policy file")
	}
	for _, f := range files {
		p.file(f)
	}
	set := &Set{rules: p.rules(), tables: p.tables(), tests: p.tests}
	if err := p.problems.Err(); err != nil {
		return nil, err
	}
	set.version = hex.EncodeToString(p.sum.Sum(nil)[:6])
	return set, nil
}

type parser struct {
	problems strictyaml.Problems
	files    []*parsedFile
	tests    []*Test
	compiler compiler
	sum      hash.Hash

	// unreadable are the places of values that could not be decoded: what is
	// wrong with them has been said.
	unreadable map[strictyaml.Pos]bool
}

type parsedFile struct {
	name    string         // of its policy
	ownName bool           // it has a `name:` key
	pos     strictyaml.Pos // of that, else of the file as a whole
	rules   []*Rule
}

// requested gives the name by which requests ask for the file's policy first: none
// for the default policy.
func (f *parsedFile) requested() string {
	if f.ownName {
		return f.name
	}
	return ""
}

func (p *parser) problem(pos strictyaml.Pos, format string, args ...any) {
	if !p.unreadable[pos] {
		p.problems = append(p.problems, strictyaml.Problem{Pos: pos, Message: fmt.Sprintf(format, args...)})
	}
}

func (p *parser) rules() []*Rule {
	var all []*Rule
	for _, f := range p.files {
		all = append(all, f.rules...)
	}
	return all
}

// tables compiles the patterns of each policy.
func (p *parser) tables() map[string]*table {
	policies := map[string][]*parsedFile{}
	for _, f := range p.files {
		policies[f.name] = append(policies[f.name], f)
		if !f.ownName {
			policies[""] = append(policies[""], f)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(policies)) {
		if name != "" {
			p.checkName(name, policies[name])
		}
	}
	tables := map[string]*table{}
	reported := map[strictyaml.Problem]bool{}
	for _, name := range slices.Sorted(maps.Keys(policies)) { // the default policy first
		files := policies[name]
		if name != "" && slices.Equal(files, policies[""]) {
			continue // the default policy by its name: its table will do
		}
		t, problems := compileTable(files)
		for _, problem := range problems {
			if !reported[problem] { // two policies may share two files that conflict
				reported[problem] = true
				p.problems = append(p.problems, problem)
			}
		}
		tables[name] = t
	}
	for name := range policies {
		if tables[name] == nil {
			tables[name] = tables[""]
		}
	}
	return tables
}

// checkName refuses a name that is a file's by chance, and another's too: a route that asks
// for it would get the rules of both. Files that all say `name:` are one policy.
func (p *parser) checkName(name string, files []*parsedFile) {
	for i, f := range files {
		other := files[0]
		if i == 0 {
			if len(files) == 1 || f.ownName {
				continue
			}
			other = files[1]
		}
		switch {
		case f.ownName || i == 0 && !other.ownName: // the other one is told
		case f.pos.File == other.pos.File:
			p.problem(f.pos, "the file is given twice")
		default:
			p.problem(f.pos, "the file's name makes it the policy %q, which %s is, too: rename the file, or write name: %s in both to make them one policy",
				name, other.pos, name)
		}
	}
}

func compileTable(files []*parsedFile) (*table, strictyaml.Problems) {
	t := newTable()
	var problems strictyaml.Problems
	for _, f := range files {
		for i, rule := range f.rules {
			strictyaml.GiveTurn(i)
			for _, pattern := range rule.Patterns {
				if problem := t.add(rule, pattern); problem != nil {
					problems = append(problems, *problem)
				}
			}
		}
	}
	return t, append(problems, t.conflicts()...)
}

func (p *parser) file(f File) {
	base := filepath.Base(f.Name)
	for _, part := range [][]byte{[]byte(base), f.Data} {
		p.sum.Write(binary.AppendUvarint(nil, uint64(len(part)))) // no two lists of files look the same
		p.sum.Write(part)
	}
	var in fileYAML
	for _, problem := range strictyaml.Decode(f.Name, f.Data, &in) {
		p.problems = append(p.problems, problem)
		p.unreadable[problem.Pos] = true
	}
	if in.Version.Pos.Line != 0 && in.Version.Value != 1 {
		p.problem(in.Version.Pos, "version %d is not known: this Scopeward reads version 1", in.Version.Value)
	}
	out := &parsedFile{name: strings.TrimSuffix(base, filepath.Ext(base)), pos: strictyaml.Pos{File: f.Name}}
	if in.Name.Pos.Line != 0 {
		out.name, out.ownName, out.pos = in.Name.Value, true, in.Name.Pos
		if !isPolicyName(out.name) {
			p.problem(in.Name.Pos, "policy name %q must be letters, digits, dots, dashes and underscores", out.name)
		}
	}
	if in.Rules.Pos.Line != 0 && len(in.Rules.Value) == 0 {
		p.problem(in.Rules.Pos, "rules is empty: a policy without a rule denies everything")
	}
	admits := pathForms{
		encodedSlash:      slices.Contains(in.Paths.Allow, "encoded_slash"),
		escapedUnreserved: slices.Contains(in.Paths.Allow, "escaped_unreserved"),
	}
	for i, r := range in.Rules.Value {
		strictyaml.GiveTurn(i)
		rule := p.rule(r)
		rule.admits, rule.preflight, rule.Policy = admits, in.Preflight.Value == "public", out.requested()
		out.rules = append(out.rules, rule)
	}
	for _, t := range in.Tests.Value {
		p.tests = append(p.tests, p.testCase(t, out.requested()))
	}
	p.files = append(p.files, out)
}

func (p *parser) rule(in strictyaml.Located[ruleYAML]) *Rule {
	y := in.Value
	rule := &Rule{Name: y.Name.Value, Access: AccessToken, Optional: y.Optional.Value, When: y.When.Value, Audit: y.Mode.Value == "audit", Pos: in.Pos, when: y.When}
	if y.Name.Pos.Line != 0 && !isLine(y.Name.Value) {
		p.problem(y.Name.Pos, "name must be one line of text")
	}
	p.access(rule, y)
	rule.Scopes = p.scopes("scopes", y.Scopes)
	rule.AnyScopes = p.scopes("any_scopes", y.AnyScopes)
	rule.ACR, rule.MaxAge = p.acr(y.ACR), p.maxAge(y.MaxAge)
	rule.prepare()
	for _, text := range y.Match.Value {
		pattern, err := parsePattern(text)
		if err != nil {
			p.problem(text.Pos, "%v", err)
			continue
		}
		rule.Patterns = append(rule.Patterns, pattern)
	}
	switch {
	case y.Match.Pos.Line != 0 && len(y.Match.Value) == 0:
		p.problem(y.Match.Pos, "match is empty: a rule needs a pattern")
	case y.When.Pos.Line == 0:
	case strings.TrimSpace(y.When.Value) == "":
		p.problem(y.When.Pos, "when is empty: write a condition, or remove the key")
	case len(rule.Patterns) == len(y.Match.Value): // else its variables are not known
		var problems strictyaml.Problems
		rule.condition, problems = p.compiler.compile(y.When, commonWildcards(rule.Patterns))
		p.problems = append(p.problems, problems...)
	}
	return rule
}

// access reads public and deny, which exclude each other and all conditions.
func (p *parser) access(rule *Rule, y ruleYAML) {
	type key struct {
		name string
		pos  strictyaml.Pos
	}
	var given []key
	for _, k := range []key{
		{"public", y.Public.Pos}, {"deny", y.Deny.Pos}, {"optional", y.Optional.Pos}, {"scopes", y.Scopes.Pos}, {"any_scopes", y.AnyScopes.Pos},
		{"acr", y.ACR.Pos}, {"max_age", y.MaxAge.Pos}, {"when", y.When.Pos},
	} {
		if k.pos.Line != 0 {
			given = append(given, k)
		}
	}
	for _, k := range given {
		if (k.name == "public" && !y.Public.Value) || (k.name == "deny" && !y.Deny.Value) || (k.name == "optional" && !y.Optional.Value) {
			p.problem(k.pos, "%s: false says nothing: remove the key", k.name)
		}
	}
	if len(given) == 0 || given[0].name != "public" && given[0].name != "deny" {
		return
	}
	rule.Access = AccessDeny
	if given[0].name == "public" && len(given) == 1 && y.Public.Value {
		rule.Access = AccessPublic
		if rule.Audit {
			p.problem(y.Mode.Pos, "mode: audit says nothing: a public rule denies nobody")
		}
	}
	for _, k := range given[1:] {
		p.problem(k.pos, "a rule with %s cannot have %s", given[0].name, k.name)
	}
}

func (p *parser) scopes(key string, in strictyaml.Located[[]strictyaml.Located[string]]) []string {
	if in.Pos.Line != 0 && len(in.Value) == 0 {
		p.problem(in.Pos, "%s is empty: name a scope, or remove the key", key)
	}
	var scopes []string
	for _, scope := range in.Value {
		switch {
		case !isScope(scope.Value):
			p.problem(scope.Pos, "%q is not a scope: it must be one word of ASCII characters, without quotes and backslashes (RFC 6749 section 3.3)%s",
				scope.Value, severalScopes(scope.Value))
		case strings.ContainsAny(scope.Value, ",;"):
			p.problem(scope.Pos, "%q looks like several scopes, and no token has it%s (a scope that has the sign itself is for when: '%s in identity.scopes')",
				scope.Value, severalScopes(scope.Value), strconv.Quote(scope.Value))
		case unlikelyScope.MatchString(scope.Value):
			p.problem(scope.Pos, "%q is no scope that a token has: write it without quotes, brackets and placeholders", scope.Value)
		case slices.Contains(scopes, scope.Value):
			p.problem(scope.Pos, "scope %q is repeated", scope.Value)
		default:
			scopes = append(scopes, scope.Value)
		}
	}
	return scopes
}

// unlikelyScope finds what a template or a script has left: quotes and brackets around
// a scope, and placeholders that nobody filled.
var unlikelyScope = regexp.MustCompile("^'.*'$|^`.*`$|^\\[.*\\]$|^<.*>$|\\$\\{|\\{\\{|^\\$[A-Za-z_]")

// severalScopes gives the end of a message about a text that is a list of scopes.
func severalScopes(text string) string {
	words := strings.FieldsFunc(strings.Trim(text, "\"'"), func(r rune) bool { return r == ',' || r == ';' || unicode.IsSpace(r) })
	if len(words) == 0 || slices.ContainsFunc(words, func(word string) bool { return !isScope(word) }) {
		return ""
	}
	return "; did you mean [" + strings.Join(words, ", ") + "]?"
}

// commonWildcards gives the variables of the wildcards that all patterns have, sorted.
func commonWildcards(patterns []*Pattern) []string {
	var common []string
	for i, p := range patterns {
		names := p.wildcards()
		if i == 0 {
			common = names
		}
		common = slices.DeleteFunc(common, func(name string) bool { return !slices.Contains(names, name) })
	}
	slices.SortFunc(common, cmp.Compare[string])
	return common
}

// IsScope reports whether a rule can ask for the scope: it is one, and not several or
// what a template has left.
func IsScope(s string) bool {
	return isScope(s) && !strings.ContainsAny(s, ",;") && !unlikelyScope.MatchString(s)
}

// isScope reports whether s is a scope-token (RFC 6749 §3.3).
func isScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

func isPolicyName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return s != ""
}

func isLine(s string) bool {
	return strings.TrimSpace(s) == s && s != "" && !strings.ContainsFunc(s, isInvisible)
}

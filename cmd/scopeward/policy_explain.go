package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"scopeward/authz"
	"scopeward/authz/token"
	"scopeward/internal/config"
	"scopeward/internal/strictyaml"
	"scopeward/policy"
	"scopeward/policy/explain"
)

// explainOptions are the flags of explain.
type explainOptions struct {
	policy, scopes, claims, headers []string
	name, token, clientIP, output   string
}

func newPolicyExplain() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain METHOD URL|PATH --policy FILE",
		Short: "Say which rule a request meets, what the client gets, and why",
		Long: `explain decides about a request as the server does and says why: the canonical path, the rule
and where it stands, which of its conditions held, each part of a CEL condition with its value,
the answer that the client gets (with the default realm), and what would make the request pass.
If no rule matches, it shows the nearest ones and what they differ in.

--scope and --claim stand for a valid token. A claim that looks like JSON is read as JSON:
--claim level=3, --claim 'roles=["admin"]', --claim 'code="3"'; sub, email, iss, azp, client_id
and scope are always text. --token reads the claims out of a JWT WITHOUT VERIFYING it: only the
server can tell whether it is valid. --token - reads it from standard input, where it does not
end up in the shell's history. The token is never printed.

With --output json: {code, allowed, would_be, reason, notes, request: {method, host, path},
policy, rule: {file, line, column, name, pattern, access, audit}, checks: [{kind, state, text,
detail, has, lacks, when: {file, line, column, text, value, error, parts}}], nearest: [{file,
line, column, pattern, why}], to_pass, response: {status, www_authenticate, body}}. kind is
token, scopes, any_scopes or when; state is held, failed, error or unknown.

The exit status is 0 if the request could be explained, whatever it gets, 1 if the policy can't
be read, 2 for wrong usage.`,
		Example: `  scopeward policy explain GET /users/42 --scope read:users --claim sub=42 --policy policy.yaml
  scopeward policy explain POST https://api.example.com/users --policy policies/ --output json
  scopeward policy explain GET /users --token - --policy policy.yaml < token`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyExplain(cmd, args, o)
		},
	}
	cmd.Flags().StringArrayVarP(&o.policy, "policy", "p", nil, "a policy `file` or directory (repeatable)")
	cmd.Flags().StringVar(&o.name, "name", "", "the `name` of the policy that the request names")
	cmd.Flags().StringArrayVar(&o.scopes, "scope", nil, "a `scope` of the token (repeatable)")
	cmd.Flags().StringArrayVar(&o.claims, "claim", nil, "a claim of the token, as `name=value` (repeatable)")
	cmd.Flags().StringArrayVar(&o.headers, "header", nil, "a header of the request, as `name=value` (repeatable)")
	cmd.Flags().StringVar(&o.token, "token", "", "a `token`, whose claims are read without verification; - for standard input")
	cmd.Flags().StringVar(&o.clientIP, "client-ip", "", "the client's `address`")
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "text or json")
	return cmd
}

func runPolicyExplain(cmd *cobra.Command, args []string, o explainOptions) error {
	q, notes, err := o.question(args, cmd.InOrStdin())
	if err != nil {
		return &usageError{err}
	}
	set, err := policy.Load(o.policy...)
	var problems strictyaml.Problems
	switch {
	case errors.As(err, &problems):
		return report{problems: problems}.print(cmd.OutOrStdout(), cmd.ErrOrStderr(), o.output)
	case err != nil:
		return err
	}
	if only := explain.OnlyPolicy(set); q.Policy == "" && only != "" {
		q.Policy, notes = only, append(notes, "the policy is taken to be "+only+", as there is no other; a request has to name it")
	}
	e, out := explain.Explain(set, q)
	e.Notes, e.Response = notes, response(out, config.Default())
	if o.output == "json" {
		return printJSON(cmd.OutOrStdout(), e)
	}
	_, err = io.WriteString(cmd.OutOrStdout(), e.String())
	return err
}

// response is what the client gets, by the server's own table.
func response(out explain.Outcome, c *config.Config) *explain.Response {
	var err error
	decision := out.Decision
	switch out.Code {
	case explain.InvalidPath:
		err = out.Err
	case explain.MissingToken:
		err = &token.MissingError{Reason: out.Reason}
	case explain.InvalidToken:
		err = &token.InvalidError{Reason: out.Reason}
	case explain.Allow: // also if only as the rule is not enforced
		decision = policy.Decision{Code: policy.Allowed}
	}
	return answer(c, decision, err)
}

// answer is what the client gets under this configuration.
func answer(c *config.Config, d policy.Decision, err error) *explain.Response {
	s := authz.Snapshot{Realm: c.Realm, ResourceMetadata: c.ResourceMetadata}
	a := s.Answer(d, err)
	return &explain.Response{Status: a.Status, Challenge: a.Challenge, Body: a.Body}
}

// question reads the command line. Its errors are of wrong usage.
func (o explainOptions) question(args []string, stdin io.Reader) (q explain.Question, notes []string, err error) {
	if err := checkOutput(o.output); err != nil {
		return q, nil, err
	}
	switch {
	case len(args) != 2: // do not show them: a token may have lost its flag
		return q, nil, fmt.Errorf("explain takes a method and a path or URL, such as GET /users, and is given %s", count(len(args), "argument"))
	case len(o.policy) == 0:
		return q, nil, errNoPolicy
	}
	if q, err = o.request(args[0], args[1]); err != nil {
		return q, nil, err
	}
	if o.token != "" {
		claims, err := readClaims(o.claims)
		if err != nil {
			return q, nil, err
		}
		return o.withToken(q, claims, stdin)
	}
	if len(o.scopes) > 0 || len(o.claims) > 0 {
		err = o.withClaims(&q)
	}
	return q, nil, err
}

// request is the question without a token.
func (o explainOptions) request(method, target string) (q explain.Question, err error) {
	q = explain.Question{Policy: o.name, Method: method, ClientIP: o.clientIP, Token: policy.TokenNone}
	var ok bool
	if q.Host, q.Target, ok = policy.SplitURL(target); !ok {
		return q, errors.New("that is neither a path nor an http(s) URL: write GET /users, or GET https://api.example.com/users")
	}
	q.Headers, err = readHeaders(o.headers)
	return q, err
}

// withClaims gives the question a valid token with the scopes and claims.
func (o explainOptions) withClaims(q *explain.Question) error {
	claims, err := readClaims(o.claims)
	if err != nil {
		return err
	}
	q.Token = policy.TokenValid
	q.Identity, err = policy.NewIdentity(scopeList(o.scopes), claims)
	return err
}

// withToken reads the claims of a token without verification. What is given besides
// it counts instead of its own.
func (o explainOptions) withToken(q explain.Question, claims map[string]any, stdin io.Reader) (explain.Question, []string, error) {
	raw := o.token
	if raw == "-" {
		line, err := bufio.NewReader(io.LimitReader(stdin, 2*token.MaxLength)).ReadString('\n')
		if err != nil && err != io.EOF {
			return q, nil, fmt.Errorf("the token cannot be read from standard input: %w", err)
		}
		raw = strings.TrimSpace(line)
	}
	raw = strings.TrimPrefix(raw, "Bearer ")
	if _, err := token.FromAuthorization("Bearer " + raw); err != nil {
		return q, nil, fmt.Errorf("--token has no bearer token: %w", err)
	}
	t := token.Parse(raw)
	if t.Opaque() {
		q.Token = policy.TokenValid
		var err error
		q.Identity, err = policy.NewIdentity(scopeList(o.scopes), claims)
		return q, []string{"the token is not a JWT and has no claims to read: it is taken to be valid, with what --scope and --claim say; only its provider can tell more"}, err
	}
	notes := []string{"the token's claims are read WITHOUT VERIFICATION: neither its signature nor its issuer and audience are checked, and it is taken to be valid where nothing below says otherwise"}
	jwt, err := t.JWT()
	if err == nil {
		issuer := jwt.Claims.Text("iss")
		if issuer == "" {
			issuer = "any" // it is missing, which the rules will say
		}
		_, err = token.Rules{Issuer: issuer, AnyAudience: true}.Identity(jwt.Claims)
	}
	if err != nil {
		q.Token, q.TokenFault = policy.TokenInvalid, err.Error()
		if invalid := (*token.InvalidError)(nil); errors.As(err, &invalid) {
			q.TokenFault = invalid.Reason
		}
		return q, notes, nil
	}
	own := jwt.Claims.Map()
	maps.Copy(own, claims)
	q.Token = policy.TokenValid
	q.Identity, err = policy.NewIdentity(scopeList(o.scopes), own)
	return q, notes, err
}

// scopeList gives the scopes of the flags, nil if there is none.
func scopeList(flags []string) []string {
	var scopes []string
	for _, f := range flags {
		scopes = append(scopes, strings.Fields(f)...)
	}
	return scopes
}

func readHeaders(flags []string) (map[string]string, error) {
	headers := map[string]string{}
	for _, f := range flags {
		name, value, ok := strings.Cut(f, "=")
		name = strings.ToLower(name)
		switch {
		case !ok || name == "":
			return nil, errors.New("--header must be name=value")
		case name == "authorization":
			return nil, errors.New("conditions never see the header authorization: give the token, or scopes and claims")
		}
		headers[name] = value
	}
	return headers, nil
}

func readClaims(flags []string) (map[string]any, error) {
	textual := []string{"sub", "email", "iss", "azp", "client_id", "scope"}
	claims := map[string]any{}
	for _, f := range flags {
		name, text, ok := strings.Cut(f, "=")
		if !ok || name == "" {
			return nil, errors.New("--claim must be name=value")
		}
		var value any
		if slices.Contains(textual, name) || json.Unmarshal([]byte(text), &value) != nil {
			value = text
		}
		claims[name] = value
	}
	return claims, nil
}

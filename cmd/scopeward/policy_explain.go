package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"scopeward/internal/config"
	"scopeward/internal/inspect"
	"scopeward/internal/strictyaml"
	"scopeward/policy"
)

// explainOptions are the flags of explain.
type explainOptions struct {
	inspect.Question
	policy, revoked []string
	config, output  string
}

func newPolicyExplain() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain METHOD URL|PATH --policy FILE",
		Short: "Say which rule a request meets, what the client gets, and why",
		Long: `explain decides about a request as the server does and says why: the canonical path, the rule
and where it stands, which of its conditions held, each part of a CEL condition with its value,
the answer that the client gets, and what would make the request pass. If no rule matches, it
shows the nearest ones and what they differ in. With --config the answer is that of this
configuration (realm, answers, resource), and its policies are asked unless --policy is given.

--scope and --claim stand for a valid token. A claim that looks like JSON is read as JSON:
--claim level=3, --claim 'roles=["admin"]', --claim 'code="3"'; sub, email, iss, azp, client_id
and scope are always text. --token reads the claims out of a JWT WITHOUT VERIFYING it: only the
server can tell whether it is valid. --token - reads it from standard input, where it does not
end up in the shell's history. With --config, a token may also be where credentials says, as in
--header 'cookie=access_token=...'. The token is never printed.

With --output json: {code, allowed, would_be, reason, notes, request: {method, host, path},
policy, rule: {file, line, column, name, pattern, access, audit}, checks: [{kind, state, text,
detail, has, lacks, when: {file, line, column, text, value, error, parts}}], nearest: [{file,
line, column, pattern, why}], to_pass, response: {status, www_authenticate, location,
content_type, body, identity_token}}. kind is token, scopes, any_scopes, acr, max_age or when;
state is held, failed, error or unknown.

The exit status is 0 if the request could be explained, whatever it gets, 1 if the policy can't
be read, 2 for wrong usage.`,
		Example: `  scopeward policy explain GET /users/42 --scope read:users --claim sub=42 --policy policy.yaml
  scopeward policy explain POST https://api.example.com/users --policy policies/ --output json
  scopeward policy explain GET /users --token - --policy policy.yaml < token
  scopeward policy explain GET /users --header accept=text/html --config scopeward.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyExplain(cmd, args, o)
		},
	}
	policyFlag(cmd, &o.policy, "a policy `file` or directory (repeatable)")
	cmd.Flags().StringVarP(&o.config, "config", "c", "", "the configuration `file`: its answers, credentials and policies")
	cmd.Flags().StringArrayVar(&o.revoked, "revoked", nil, "a `file` of revoked tokens, as scopeward revoke writes it (repeatable)")
	cmd.Flags().StringVar(&o.Policy, "name", "", "the `name` of the policy that the request names")
	cmd.Flags().StringArrayVar(&o.Scopes, "scope", nil, "a `scope` of the token (repeatable)")
	cmd.Flags().StringArrayVar(&o.Claims, "claim", nil, "a claim of the token, as `name=value` (repeatable)")
	cmd.Flags().StringArrayVar(&o.Headers, "header", nil, "a header of the request, as `name=value` (repeatable)")
	cmd.Flags().StringVar(&o.Token, "token", "", "a `token`, whose claims are read without verification; - for standard input")
	cmd.Flags().StringVar(&o.Peer.Principal, "peer-principal", "", "the `name` in the certificate of who connects to Envoy")
	cmd.Flags().StringVar(&o.Peer.Address, "peer-address", "", "the `address` of who connects to Envoy")
	cmd.Flags().StringVar(&o.Body, "body", "", "a `file` with the body of the request, JSON unless a header content-type says otherwise")
	cmd.Flags().StringVar(&o.ClientIP, "client-ip", "", "the client's `address`")
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "text or json")
	return cmd
}

func runPolicyExplain(cmd *cobra.Command, args []string, o explainOptions) error {
	if err := o.sane(args); err != nil {
		return &usageError{err}
	}
	set, c, err := rulesOf(o.config, o.policy)
	var problems strictyaml.Problems
	switch {
	case errors.As(err, &problems):
		return report{problems: problems}.print(cmd.OutOrStdout(), cmd.ErrOrStderr(), o.output)
	case err != nil:
		return err
	}
	q, presented, notes, err := o.Read(args[0], args[1], cmd.InOrStdin(), c)
	if err != nil {
		return &usageError{err}
	}
	if err := inspect.Revoke(&q, o.revoked); err != nil {
		return err
	}
	e, _ := presented.Explain(set, q, c)
	e.Notes = notes
	if o.output == "json" {
		return printJSON(cmd.OutOrStdout(), e)
	}
	_, err = io.WriteString(forPeople(cmd.OutOrStdout()), e.String())
	return err
}

// sane refuses a command line that says nothing sensible.
func (o explainOptions) sane(args []string) error {
	switch {
	case len(args) != 2: // do not show them: a token may have lost its flag
		return fmt.Errorf("explain takes a method and a path or URL, such as GET /users, and is given %s", count(len(args), "argument"))
	case len(o.policy) == 0 && o.config == "":
		return errNoPolicy
	}
	return checkOutput(o.output)
}

// rulesOf are the policies, and the configuration that answers: the default one without a
// file. Policies that are given replace those of the file.
func rulesOf(file string, policies []string) (*policy.Set, *config.Config, error) {
	if file == "" {
		set, err := policy.Load(policies...)
		return set, config.Default(), err
	}
	f, err := config.LoadRules(config.Options{File: file, Policy: policies, Secrets: config.NoSecrets})
	return f.Policy, f.Config, err
}

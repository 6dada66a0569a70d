package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"scopeward/authz/token"
	"scopeward/internal/config"
	"scopeward/internal/inspect"
	"scopeward/internal/strictyaml"
)

func newToken() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "token",
		Short:   "Look into tokens",
		Example: `  scopeward token inspect --config scopeward.yaml < token`,
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenInspect())
	return cmd
}

// inspectOptions are the flags of inspect.
type inspectOptions struct {
	inspect.Options
	request, output string
}

func newTokenInspect() *cobra.Command {
	o := inspectOptions{Options: inspect.Options{Options: config.Options{Secrets: config.SecretsOfProviders}}}
	cmd := &cobra.Command{
		Use:   "inspect --config FILE < TOKEN",
		Short: "Say what is in a token, and why the server accepts or refuses it",
		Long: `inspect reads a token from standard input and shows its header and claims, dates in local time,
and each check of the server's, in its order: passed or failed, why, and what to do. The checks are
made by the server's own code, without its caches and rate limit. The token itself is never printed.

The configuration says whose tokens count; without one, --issuer and --audience do. Keys are fetched
from the provider, where its metadata say, unless --jwks names a file with them or their URL. Without all of these the claims are shown
and the dates checked, but nothing is verified.

--request asks the policy as well, about a request with this token, and shows what Envoy answers.

With --output json: {verdict, reason, notes, provider, header, claims, unreadable, dates, checks:
[{name, state, text, detail, advice}], identity: {subject, client_id, email, scopes}, bound, request},
where verdict is accepted, refused or unknown, state is passed, failed or unknown, and request is
what policy explain --output json prints. bound is dpop, mtls or dpop+mtls for a token that is bound
to a key or certificate of its client; that the client has it is not checked here.

The exit status is 0 only if the server would accept the token (and with --request, let the request
pass), 1 if not or if it can't be told, 2 for wrong usage.`,
		Example: `  scopeward token inspect --config scopeward.yaml < token
  scopeward login --issuer https://acme.kinde.com --client-id 0123abcd | scopeward token inspect --config scopeward.yaml --request "GET /users"
  scopeward token inspect --jwks jwks.json --issuer https://acme.kinde.com --audience https://api.acme.dev < token`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 { // which is not shown: it may be a token
				return &usageError{errors.New("inspect takes no arguments, and a token only on standard input: as an argument it would stay in the shell's history and show in the list of processes")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return runTokenInspect(cmd, o) },
	}
	configFlags(cmd, &o.Options.Options)
	cmd.Flags().StringVar(&o.JWKS, "jwks", "", "a `file` with the provider's keys, so that it is not asked, or the URL of its keys")
	cmd.Flags().StringVar(&o.Issuer, "issuer", "", "the issuer whose tokens count, a `URL`; instead of a configuration")
	cmd.Flags().StringArrayVar(&o.Audiences, "audience", nil, "an `API` that tokens may be for (repeatable); instead of a configuration")
	cmd.Flags().StringVar(&o.request, "request", "", "a `request` to ask the policy about, such as \"GET /users\"")
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "text or json")
	return cmd
}

func runTokenInspect(cmd *cobra.Command, o inspectOptions) error {
	if err := checkOutput(o.output); err != nil {
		return &usageError{err}
	}
	raw, err := readToken(cmd.InOrStdin())
	if err != nil {
		return &usageError{err}
	}
	if err := o.sane(); err != nil {
		return err
	}
	if o.request == "" && o.File == "" {
		o.Policy = nil
	}
	i, err := inspect.New(o.Options, raw)
	if err != nil {
		return err
	}
	found := i.Inspect(cmd.Context(), raw)
	if o.request != "" {
		if err := i.Ask(&found, o.request); err != nil {
			return &usageError{err}
		}
	}
	if o.output == "json" {
		err = printJSON(cmd.OutOrStdout(), found)
	} else {
		err = found.Print(cmd.OutOrStdout(), time.Now())
	}
	if err == nil && (found.Verdict != inspect.Accepted || found.Request != nil && !found.Request.Allowed) {
		return errReported
	}
	return err
}

// readToken reads one token. What it says of other things contains nothing of them.
func readToken(stdin io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(stdin, 4*token.MaxLength))
	text := strings.TrimSpace(string(data))
	switch {
	case err != nil:
		return "", fmt.Errorf("the token cannot be read from standard input: %w", err)
	case text == "":
		return "", errors.New("there is no token on standard input: scopeward token inspect < token")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return unicode.IsControl(c) && !unicode.IsSpace(c) }):
		return "", errors.New("standard input holds binary data, not a token: a token is one line of text, such as eyJhbGciOi….eyJpc3Mi….c2ln…")
	case strings.ContainsAny(text, "\r\n"):
		return "", errors.New("standard input holds several lines, and a token is one: give the access token alone")
	}
	return strings.TrimSpace(strings.TrimPrefix(text, "Bearer ")), nil
}

func (o inspectOptions) sane() error {
	switch {
	case o.File != "" && (o.Issuer != "" || len(o.Audiences) > 0):
		return &usageError{errors.New("--issuer and --audience stand for a configuration: leave out either them or --config")}
	case (o.Issuer == "") != (len(o.Audiences) == 0):
		return &usageError{errors.New("--issuer and --audience belong together: a token counts only for the API that it was issued for")}
	case o.request != "" && o.File == "" && len(o.Policy) == 0:
		return &usageError{errNoPolicy}
	case o.JWKS == "" || inspect.IsURL(o.JWKS):
		return nil
	}
	if _, err := os.ReadFile(o.JWKS); err != nil {
		return strictyaml.Unreadable(o.JWKS, err)
	}
	return nil
}

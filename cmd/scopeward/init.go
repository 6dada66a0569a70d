package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"scopeward/authz/token/provider"
	"scopeward/internal/config"
	"scopeward/internal/starter"
	"scopeward/internal/strictyaml"
	"scopeward/policy/openapi"
)

// initOptions are the flags of init.
type initOptions struct {
	starter.Options
	openAPI string
}

func newInit() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init --issuer URL [--preset NAME] [--audience A]... [--openapi FILE]",
		Short: "Write a first configuration, policy and Envoy excerpt",
		Long: `init asks an identity provider for its metadata, and writes ` + starter.Config + `, ` + starter.Policy + ` and
` + starter.Envoy + ` into the current folder; then it says what to do next. It overwrites nothing: if one
of them is there, it writes none.

A preset fits a known provider; many are known by their issuer. What nobody has said stands in
angle brackets, and check refuses it. With --openapi, the policy is what scopeward policy import
makes of that document.

The exit status is 0 if the files were written, 1 if not, 2 for wrong usage.`,
		Example: `  scopeward init --issuer https://sso.acme.dev/realms/acme --audience https://api.acme.dev
  scopeward init --preset github-actions --audience https://api.acme.dev --openapi openapi.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runInit(cmd, o) },
	}
	cmd.Flags().StringVar(&o.Issuer, "issuer", "", "the provider's issuer, a `URL`")
	cmd.Flags().StringVar(&o.Preset, "preset", "", "the `name` of a known provider")
	cmd.Flags().StringArrayVar(&o.Audiences, "audience", nil, "the `API` that tokens are for, as the provider names it (repeatable)")
	cmd.Flags().StringVar(&o.openAPI, "openapi", "", "an OpenAPI `file` to make the policy of")
	cmd.Flags().StringVar(&o.CA, "ca", "", "a `file` with the CAs of the provider's certificates, instead of the system's")
	return cmd
}

func runInit(cmd *cobra.Command, o initOptions) error {
	for _, name := range []string{starter.Config, starter.Policy, starter.Envoy} {
		if _, err := os.Lstat(name); err == nil {
			return fmt.Errorf("%s is there already, and init overwrites nothing: move it, or run init in another folder", name)
		}
	}
	for flag, value := range map[string]string{"--issuer": o.Issuer, "--audience": strings.Join(o.Audiences, " ")} {
		if err := config.CheckValue(value); err != nil {
			return &usageError{fmt.Errorf("%s: %w", flag, err)}
		}
	}
	client := provider.Options{MayBeAbsent: true}
	if o.CA != "" {
		var err error
		if client.RootCAs, _, err = config.ReadCAs(o.CA, o.CA); err != nil {
			return fmt.Errorf("--ca: %w", err)
		}
	}
	o.Client = provider.New(client)
	policy, err := o.policy(cmd.InOrStdin())
	if err != nil {
		return err
	}
	made, err := starter.Make(cmd.Context(), o.Options)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{starter.Config: made.Config, starter.Policy: policy, starter.Envoy: made.Envoy} {
		if err := writeNew(name, data); err != nil {
			return err
		}
	}
	o.next(cmd.OutOrStdout(), made)
	return nil
}

func (o initOptions) policy(stdin io.Reader) ([]byte, error) {
	if o.openAPI == "" {
		return []byte(starter.FirstPolicy), nil
	}
	document, err := readOpenAPI(o.openAPI, stdin, openapi.Options{})
	if err != nil {
		return nil, err
	}
	made, err := document.Policy()
	if err != nil {
		return nil, err
	}
	return made.Policy, nil
}

// writeNew makes a file that is not there.
func writeNew(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// next says what was found, what is still to be written, and what to do then.
func (o initOptions) next(w io.Writer, made starter.Made) {
	fmt.Fprintf(w, "Wrote %s, %s and %s.\n", starter.Config, starter.Policy, starter.Envoy)
	for _, note := range made.Notes {
		fmt.Fprintf(w, "Note: %s.\n", note)
	}
	if m := made.Metadata; m.Place != "" {
		fmt.Fprintf(w, "Found %s: keys %s, profile %s, introspection %s.\n", m.Place, orNone(m.JWKS), orNone(m.Userinfo), orNone(m.Introspection))
	}
	fmt.Fprintln(w, "\nNext:")
	step := 0
	say := func(format string, args ...any) {
		step++
		fmt.Fprintf(w, "  %d. "+format+"\n", append([]any{step}, args...)...)
	}
	_, err := config.Read(config.Options{File: starter.Config})
	if problems, ok := errors.AsType[strictyaml.Problems](err); ok {
		say("Write what is missing:")
		for _, p := range problems {
			fmt.Fprintf(w, "       %s\n", p.Error())
		}
	}
	say("See that all is well:    scopeward check --config %s --online", starter.Config)
	login := "scopeward token inspect --config " + starter.Config + " < token"
	if made.Metadata.Device != "" && len(o.Audiences) > 0 {
		login = fmt.Sprintf("scopeward login --issuer %s --client-id ID --audience %s | scopeward token inspect --config %s", made.Issuer, o.Audiences[0], starter.Config)
	}
	say("Try a token:             %s", login)
	say("Write your rules:        %s (docs/policy.md)", starter.Policy)
	say("Run the service:         scopeward serve --config %s", starter.Config)
	say("Have Envoy ask it:       put the parts of %s into its configuration", starter.Envoy)
	say("Look for weak spots:     scopeward doctor http://127.0.0.1:9901 --config %s", starter.Config)
}

func orNone(url string) string {
	if url == "" {
		return "none"
	}
	return strconv.QuoteToASCII(url)
}

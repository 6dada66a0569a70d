package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"scopeward/internal/inspect"
	"scopeward/internal/login"
)

// loginOptions are the flags of login.
type loginOptions struct {
	login.Options
	open bool
	save string
}

func newLogin() *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login --issuer URL --client-id ID [--scope S]...",
		Short: "Get an access token by allowing it in a browser",
		Long: `login runs the device authorization flow (RFC 8628): it shows an address and a code, you allow
the request there, on any device, and it prints the access token, alone, on standard output.
Everything else goes to standard error.

The endpoints come from the issuer's metadata (OpenID Connect Discovery, RFC 8414), which must be
of exactly this issuer, or from --device-endpoint and --token-endpoint. The client must be a
public one, without a secret, that may use the flow. Without --audience, Kinde gives tokens that
are for no API, which serve refuses.

The token is never written to disk, unless --save names a file: it gets mode 0600, a file that
is there is replaced but never gets a wider mode, and a symbolic link is refused.

The exit status is 0 with a token, 1 without, 2 for wrong usage.`,
		Example: `  scopeward login --issuer https://acme.kinde.com --client-id 0123abcd --audience https://api.acme.dev --scope read:users
  TOKEN=$(scopeward login --issuer https://acme.kinde.com --client-id 0123abcd --scope openid --open)
  curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/users`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLogin(cmd, o) },
	}
	cmd.Flags().StringVar(&o.Issuer, "issuer", "", "the provider's issuer, a `URL`")
	cmd.Flags().StringVar(&o.ClientID, "client-id", "", "the `ID` of a public client at the provider")
	cmd.Flags().StringArrayVar(&o.Scopes, "scope", nil, "a `scope` to ask for (repeatable)")
	cmd.Flags().StringVar(&o.Audience, "audience", "", "the `API` that the token is to be for, as the provider names it")
	cmd.Flags().StringVar(&o.Endpoints.Device, "device-endpoint", "", "the device authorization endpoint, a `URL`, instead of discovery")
	cmd.Flags().StringVar(&o.Endpoints.Token, "token-endpoint", "", "the token endpoint, a `URL`, instead of discovery")
	cmd.Flags().BoolVar(&o.open, "open", false, "open the address in a browser on this machine")
	cmd.Flags().StringVar(&o.save, "save", "", "also write the token to this `file`, for its owner only")
	return cmd
}

func runLogin(cmd *cobra.Command, o loginOptions) error {
	o.Scopes = inspect.ScopeList(o.Scopes)
	switch {
	case o.ClientID == "":
		return &usageError{errors.New("login needs --client-id, the ID of a public client at the provider that may use the device authorization flow")}
	case o.Issuer == "" && (o.Endpoints.Device == "" || o.Endpoints.Token == ""):
		return &usageError{errors.New("login needs --issuer, such as https://acme.kinde.com, or both --device-endpoint and --token-endpoint")}
	}
	if o.save != "" {
		if err := login.Savable(o.save); err != nil {
			return err
		}
	}
	if o.open {
		o.Open = openBrowser
	}
	o.Screen = loginScreen(cmd.ErrOrStderr())
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	got, err := login.Run(ctx, o.Options)
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("login was interrupted: no token")
	case err != nil:
		return err
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), got); err != nil {
		return err
	}
	if o.save != "" {
		return login.Save(o.save, got)
	}
	return nil
}

// loginScreen knows whether standard error is a terminal, and how wide.
func loginScreen(w io.Writer) login.Screen {
	s := login.Screen{Out: w}
	f, ok := terminal(w)
	if !ok {
		return s
	}
	s.Colour = coloured(w)
	if width, _, err := term.GetSize(int(f.Fd())); err == nil {
		s.Columns = width
	}
	return s
}

// openBrowser asks the desktop to show an address.
func openBrowser(address string) error {
	command := []string{"xdg-open", address}
	switch runtime.GOOS {
	case "darwin":
		command[0] = "open"
	case "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", address}
	}
	return exec.Command(command[0], command[1:]...).Run()
}

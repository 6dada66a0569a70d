package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scopeward/authz/token"
	"scopeward/authz/token/revocation"
)

// revokeOptions are the flags of revoke.
type revokeOptions struct {
	file, subject, jti, client, claim string
	issuedBefore, until, provider     string
}

func newRevoke() *cobra.Command {
	var o revokeOptions
	cmd := &cobra.Command{
		Use:   "revoke --subject S | --jti J | --client C | --claim NAME=VALUE --file FILE",
		Short: "Refuse tokens before they expire",
		Long: `revoke adds an entry to a file that the configuration names under revoked. A running service reads
the file when it changes, and from then on answers 401 invalid_token to the tokens that the entry is
about, also to those that it knows already. The file is made if there is none, with mode 0600.

With --issued-before now, tokens that are issued from now on pass: that is for a user who has signed
out, or changed a password. Let an entry end with --until once all of its tokens have expired.`,
		Example: `  scopeward revoke --subject user-42 --issued-before now --file revoked.yaml
  scopeward revoke --claim sid=f81d4fae --until 2027-01-01 --file revoked.yaml`,
		Args: withFlags("file"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			entry, err := o.entry(time.Now())
			if err != nil {
				return &usageError{err}
			}
			err = editFile(o.file, func(data []byte) ([]byte, error) { return revocation.Add(o.file, data, entry) })
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "Revoked. A running service that has the file under revoked refuses such tokens a moment from now.")
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.file, "file", "f", "", "the `file` of revoked tokens")
	flags.StringVar(&o.subject, "subject", "", "all tokens of a `subject` (sub)")
	flags.StringVar(&o.jti, "jti", "", "the token with this `id` (jti)")
	flags.StringVar(&o.client, "client", "", "all tokens of a `client` (client_id or azp)")
	flags.StringVar(&o.claim, "claim", "", "all tokens with a claim, as `name=value`; of a list each element counts")
	flags.StringVar(&o.provider, "provider", "", "only tokens of the provider of this `name`")
	flags.StringVar(&o.issuedBefore, "issued-before", "", "only tokens issued before this `time`: now, a day (2027-02-28) or a moment (2027-02-28T12:00:00Z)")
	flags.StringVar(&o.until, "until", "", "the `time` at which the entry ends, a day or a moment; without it, it stays")
	return cmd
}

// entry is what the flags say.
func (o revokeOptions) entry(now time.Time) (token.Revocation, error) {
	e := token.Revocation{Provider: o.provider}
	given := 0
	for _, k := range []struct{ kind, value string }{
		{token.RevokedSubject, o.subject}, {token.RevokedJTI, o.jti}, {token.RevokedClient, o.client}, {token.RevokedClaim, o.claim},
	} {
		if k.value != "" {
			given++
			e.Kind, e.Value = k.kind, k.value
		}
	}
	if given != 1 {
		return e, errors.New("give one of --subject, --jti, --client and --claim: an entry says one thing")
	}
	if e.Kind == token.RevokedClaim {
		var ok bool
		if e.Claim, e.Value, ok = strings.Cut(o.claim, "="); !ok || e.Claim == "" {
			return e, errors.New("--claim is a name and a value, as in --claim sid=f81d4fae")
		}
	}
	var err error
	if o.issuedBefore == "now" { // iat has whole seconds, so that all of this second were before
		e.IssuedBefore = now.Truncate(time.Second).Add(time.Second)
	} else if e.IssuedBefore, err = moment("--issued-before", o.issuedBefore); err != nil {
		return e, err
	}
	if e.Until, err = moment("--until", o.until); err != nil {
		return e, err
	}
	if !e.Until.IsZero() && !e.Until.After(now) {
		return e, fmt.Errorf("--until is %q, which is not in the future", o.until)
	}
	return e, nil
}

func moment(flag, text string) (at time.Time, err error) {
	if text == "" {
		return at, nil
	}
	if at, err = revocation.Moment(text); err != nil {
		return at, fmt.Errorf("%s %w", flag, err)
	}
	return at, nil
}

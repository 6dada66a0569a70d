package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"scopeward/authz/token/apikey"
)

func newAPIKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apikey",
		Short: "Make, list and revoke API keys of your own",
		Long: `apikey keeps a file of API keys for a provider with validation: api_keys. The file holds no key,
only the SHA-256 of each, with an id, scopes and an end. A running service reads it again when it
changes.`,
		Example: `  scopeward apikey new --id ci --scope write:deploy --expires 90d --file keys.yaml`,
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAPIKeyNew(), newAPIKeyList(), newAPIKeyRevoke())
	return cmd
}

func newAPIKeyNew() *cobra.Command {
	var file, id, expires string
	var scopes []string
	cmd := &cobra.Command{
		Use:   "new --id ID --file FILE [--scope S]... [--expires 90d]",
		Short: "Make a key, and add its hash to a file",
		Long: `new prints a key, alone, on standard output. It is shown once: the file holds its SHA-256 only. The
file is made if there is none, with mode 0600.`,
		Example: `  scopeward apikey new --id ci --scope write:deploy --expires 90d --file keys.yaml`,
		Args:    withFlags("id", "file"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			end, err := parseEnd(expires, now)
			if err != nil {
				return &usageError{err}
			}
			key := apikey.Generate()
			entry := apikey.Entry{ID: id, SHA256: apikey.Hash(key), Scopes: scopes, Created: now, Expires: end}
			err = editFile(file, func(data []byte) ([]byte, error) { return apikey.Add(file, data, entry) })
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "This is the key %s. It is shown only now:\n", id)
			fmt.Fprintln(cmd.OutOrStdout(), key)
			return nil
		},
	}
	keysFlag(cmd, &file)
	cmd.Flags().StringVar(&id, "id", "", "the key's `ID`: the subject of its requests")
	cmd.Flags().StringArrayVar(&scopes, "scope", nil, "a `scope` of the key (repeatable)")
	cmd.Flags().StringVar(&expires, "expires", "", "its `end`: in days (90d) or another duration (12h), or a day (2027-02-28); without it the key has none")
	return cmd
}

func newAPIKeyList() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:     "list --file FILE",
		Short:   "List the keys of a file",
		Example: `  scopeward apikey list --file keys.yaml`,
		Args:    withFlags("file"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			entries, err := apikey.Parse(file, data)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSCOPES\tCREATED\tEXPIRES")
			for _, e := range entries {
				end := dayOf(e.Expires)
				if !e.Expires.IsZero() && !time.Now().Before(e.Expires) {
					end += " (expired)"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.ID, orDash(strings.Join(e.Scopes, " ")), dayOf(e.Created), end)
			}
			return w.Flush()
		},
	}
	keysFlag(cmd, &file)
	return cmd
}

func newAPIKeyRevoke() *cobra.Command {
	var file, id string
	cmd := &cobra.Command{
		Use:     "revoke --id ID --file FILE",
		Short:   "Remove a key from a file",
		Example: `  scopeward apikey revoke --id ci --file keys.yaml`,
		Args:    withFlags("id", "file"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := editFile(file, func(data []byte) ([]byte, error) { return apikey.Remove(file, data, id) })
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The key %s is revoked. A running service refuses it once it has read the file again, a few seconds from now.\n", id)
			return nil
		},
	}
	keysFlag(cmd, &file)
	cmd.Flags().StringVar(&id, "id", "", "the key's `ID`")
	return cmd
}

func keysFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "file", "f", "", "the `file` of the keys")
}

// withFlags is for commands that take no arguments and can't do without some flags.
func withFlags(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		for _, name := range names {
			if cmd.Flag(name).Value.String() == "" {
				return &usageError{fmt.Errorf("--%s is missing", name)}
			}
		}
		return noArguments(cmd, args)
	}
}

// parseEnd reads when a key ends; the zero time is never.
func parseEnd(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	end, err := time.Parse(time.DateOnly, text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		end = now.AddDate(0, 0, n)
	} else if d, notDuration := time.ParseDuration(text); notDuration == nil {
		end, err = now.Add(d), nil
	}
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("--expires is %q; write days (90d), another duration (12h) or a day (2027-02-28)", text)
	case !end.After(now):
		return time.Time{}, fmt.Errorf("--expires is %q, which is not in the future", text)
	}
	return end.Truncate(time.Second), nil
}

func dayOf(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateOnly)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
	"scopeward/policy/openapi"
)

func newPolicyImport() *cobra.Command {
	var options openapi.Options
	var output string
	cmd := &cobra.Command{
		Use:   "import OPENAPI",
		Short: "Print a policy made from an OpenAPI document",
		Long: `import prints a policy with a rule and tests for each operation of an OpenAPI document
(3.0 to 3.2, YAML or JSON; - reads standard input; files below its folder that it names are
read, too). Of the security requirements of an operation one is enough, all schemes in one
are needed, and all scopes in a scheme. An empty list, or an empty requirement, is public.
The operation's security replaces the document's.

What no rule can check is denied, and a comment says why and where in the document: mutual
TLS, API keys and Basic without --scheme, two credentials at once, what is public for a part
of a segment or a query only, and operations without any security key, of the document too.
Read the comments, then the rules.

A request that may be for several operations, as /a/b is for /a/{x} and /{y}/b, must meet all
of them. A segment such as {id}.json is a pattern with a condition. A server without a host
stands for any host; one such as https://{tenant}.example.com for any one label there. Where
another operation has a host, the rule is written for that host too, as a pattern with a host
goes before any without.

With --output json: {policy, operations: [{operation, id, file, line, column, patterns,
access (public, token or deny), scopes, any_scopes, when, notes: [{file, line, column, message}]}]}.

The exit status is 0 if a policy was made, also if it denies operations; 1 if the document
can't be read; 2 for wrong usage.`,
		Example: `  scopeward policy import openapi.yaml > policy.yaml
  scopeward policy import --any-host openapi.json --output json
  scopeward policy import --scheme ApiKeyAuth=own-keys --scopes any openapi.yaml`,
		Args: oneArgument("an OpenAPI document"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			document, err := readOpenAPI(args[0], cmd.InOrStdin(), options)
			if err != nil {
				return err
			}
			made, err := document.Policy()
			if err != nil {
				return err
			}
			if output == "json" {
				return printImport(cmd.OutOrStdout(), made)
			}
			if _, err := cmd.OutOrStdout().Write(made.Policy); err != nil {
				return err
			}
			summarize(cmd.ErrOrStderr(), made)
			return nil
		},
	}
	openAPIFlags(cmd, &options)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func openAPIFlags(cmd *cobra.Command, options *openapi.Options) {
	flags := cmd.Flags()
	flags.BoolVar(&options.AnyHost, "any-host", false, "leave out the hosts of the document's servers")
	flags.StringToStringVar(&options.Schemes, "scheme", nil,
		"`name=provider`: the provider of the configuration that checks the credentials of a security scheme (repeatable)")
	flags.Var((*scopesFlag)(&options.Scopes), "scopes",
		"`how` the scopes of a scheme are read: all are needed, any is enough, or kinde: each operation has its own, such as get:users_userid")
	flags.StringVar(&options.Prefix, "scope-prefix", "", "`text` before each scope, as tokens have it and the document does not")
}

// scopesFlag reads --scopes.
type scopesFlag openapi.Scopes

func (f *scopesFlag) String() string { return []string{"all", "any", "kinde"}[*f] }
func (f *scopesFlag) Type() string   { return "how" }

func (f *scopesFlag) Set(text string) error {
	i := slices.Index([]string{"all", "any", "kinde"}, text)
	if i < 0 {
		return errors.New("must be all, any or kinde")
	}
	*f = scopesFlag(i)
	return nil
}

// oneArgument is for commands about one thing.
func oneArgument(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return &usageError{fmt.Errorf("%s takes %s, and is given %s", cmd.CommandPath(), what, count(len(args), "argument"))}
		}
		return nil
	}
}

func checkOutput(output string) error {
	if output != "text" && output != "json" {
		return &usageError{fmt.Errorf("--output is %q; it must be text or json", output)}
	}
	return nil
}

// readOpenAPI reads a document from a file, or from stdin if that is "-".
func readOpenAPI(name string, stdin io.Reader, options openapi.Options) (*openapi.Document, error) {
	if name == "-" {
		return openapi.Read("-", stdin, options)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, strictyaml.Unreadable(name, err).Err()
	}
	defer f.Close()
	folder, err := os.OpenRoot(filepath.Dir(name)) // a document can't name files elsewhere, not by symbolic links either
	if err != nil {
		return nil, strictyaml.Unreadable(name, err).Err()
	}
	defer folder.Close()
	options.Files, options.Base = folder.FS(), filepath.Base(name)
	return openapi.Read(name, f, options)
}

// summarize counts, on standard error, what became of the operations.
func summarize(w io.Writer, made *openapi.Import) {
	operations := 0
	by := map[policy.Access]int{}
	for _, r := range made.Rules {
		if r.Between {
			continue
		}
		operations += len(r.Operations)
		by[r.Access] += len(r.Operations)
	}
	fmt.Fprintf(w, "%s: %d public, %d with a token, %d denied as no rule can express them.\n",
		count(operations, "operation"), by[policy.AccessPublic], by[policy.AccessToken], by[policy.AccessDeny])
}

type importedOperation struct {
	Operation string       `json:"operation"`
	ID        string       `json:"id,omitempty"`
	File      string       `json:"file"`
	Line      int          `json:"line"`
	Column    int          `json:"column"`
	Patterns  []string     `json:"patterns"`
	Access    string       `json:"access"`
	Scopes    []string     `json:"scopes,omitempty"`
	AnyScopes []string     `json:"any_scopes,omitempty"`
	When      string       `json:"when,omitempty"`
	Notes     []importNote `json:"notes,omitempty"`
}

type importNote struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

func printImport(w io.Writer, made *openapi.Import) error {
	operations := []importedOperation{}
	for _, r := range made.Rules {
		for _, op := range r.Operations {
			if r.Between {
				continue
			}
			o := importedOperation{
				Operation: op.String(), ID: op.ID, File: op.Pos.File, Line: op.Pos.Line, Column: op.Pos.Column, Patterns: r.Patterns,
				Access: accessName(r.Access), Scopes: r.Scopes, AnyScopes: r.AnyScopes, When: r.When,
			}
			for _, n := range op.Notes {
				o.Notes = append(o.Notes, importNote{n.Pos.File, n.Pos.Line, n.Pos.Column, n.Message})
			}
			operations = append(operations, o)
		}
	}
	return printJSON(w, struct {
		Policy     string              `json:"policy"`
		Operations []importedOperation `json:"operations"`
	}{string(made.Policy), operations})
}

// printJSON writes what --output json asks for.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func accessName(a policy.Access) string {
	switch a {
	case policy.AccessPublic:
		return "public"
	case policy.AccessToken:
		return "token"
	default:
		return "deny"
	}
}

var errNoPolicy = errors.New("there is no policy: give --policy policy.yaml")

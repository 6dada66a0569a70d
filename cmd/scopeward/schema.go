package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"scopeward/authz/audit"
	"scopeward/internal/config"
	"scopeward/internal/strictyaml"
	"scopeward/policy"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema policy|config|audit",
		Short: "Print the JSON Schema of policy files, of the configuration or of audit events",
		Long: `schema prints the JSON Schema (2020-12) of policy files, of scopeward.yaml or of an audit event,
made from the definitions that this program reads and writes them by. Editors with the YAML language
server check and complete a file by it if the file's first line names it, by a URL or a path from the
file:

  # yaml-language-server: $schema=policy.schema.json

A file that the schema takes can still be wrong: only check knows whether patterns conflict and
conditions compile.`,
		Example: `  scopeward schema policy > policy.schema.json
  scopeward schema config > scopeward.schema.json
  scopeward schema audit > audit.schema.json`,
		ValidArgs: []string{"policy", "config", "audit"},
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return &usageError{errors.New("schema takes one argument: policy, config or audit")}
			case schemaOf(args[0]) == nil:
				return &usageError{fmt.Errorf("there is no schema of %q: it must be policy, config or audit", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			schema, err := schemaOf(args[0])()
			if err != nil {
				return err
			}
			return schema.Write(cmd.OutOrStdout())
		},
	}
}

// schemaOf is what makes the schema of that name; nil for another.
func schemaOf(name string) func() (strictyaml.JSONSchema, error) {
	switch name {
	case "policy":
		return policy.Schema
	case "config":
		return config.Schema
	case "audit":
		return audit.Schema
	default:
		return nil
	}
}

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"scopeward/policy"
	"scopeward/policy/strictyaml"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema policy|config",
		Short: "Print the JSON Schema of policy files or of the configuration",
		Long: `schema prints the JSON Schema (2020-12) of policy files or of scopeward.yaml, made from the
definitions that this program reads them by. Editors with the YAML language server check and
complete a file by it if the file's first line names it, by a URL or a path from the file:

  # yaml-language-server: $schema=policy.schema.json

A file that the schema takes can still be wrong: only check knows whether patterns conflict and
conditions compile.`,
		Example: `  scopeward schema policy > policy.schema.json
  scopeward schema config > scopeward.schema.json`,
		ValidArgs: []string{"policy", "config"},
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return &usageError{errors.New("schema takes one argument: policy or config")}
			case args[0] != "policy" && args[0] != "config":
				return &usageError{fmt.Errorf("there is no schema of %q: it must be policy or config", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			describe := policy.Schema
			if args[0] == "config" {
				describe = configSchema
			}
			schema, err := describe()
			if err != nil {
				return err
			}
			return schema.Write(cmd.OutOrStdout())
		},
	}
}

// configSchema gives the JSON Schema of scopeward.yaml.
func configSchema() (strictyaml.JSONSchema, error) { return strictyaml.Schema(Config{}) }

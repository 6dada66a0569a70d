// Command scopeward is an Envoy external authorization service: Envoy asks it
// about every request over gRPC, it validates the OAuth bearer token, applies
// the scope policy, and answers allow or deny.
//
//	scopeward serve --config scopeward.yaml     run the service
//	scopeward check --config scopeward.yaml     validate configuration and policy
//	scopeward policy test|explain|lint|diff|replay|import|drift
//	scopeward doctor ENVOY_ADMIN_URL|BOOTSTRAP  what in an Envoy weakens the protection
//	scopeward schema policy|config|audit        JSON Schemas of both files, and of audit events
//	scopeward login --issuer URL --client-id ID a token, allowed by a person in a browser
//	scopeward audit [FILE]...                   audit events, shown to a person
//	scopeward healthcheck                       ask a running service for its health
//	scopeward token inspect < token             why a token is accepted or refused
//	scopeward revoke --subject S --file F       refuse tokens before they expire
//	scopeward init --issuer URL                 write a first configuration and policy
//	scopeward version
//
// The configuration is documented in package config, the policy file in package
// policy. Without a configuration file, KINDE_ISSUER_URL, KINDE_AUDIENCE and
// --policy are enough.
//
// The service's own log goes to standard error, audit events (one JSON line
// for each decision) to standard output. SIGTERM and SIGINT drain: health
// turns NOT_SERVING, who asks for it is given the time to learn that, requests in
// flight are answered, and the process ends within 10 s, or 2 s after listen.drain. SIGHUP reads configuration and policy again, as does any change to
// their files.
//
// The exit status is 0 if all is well, 1 if the thing checked or run is bad,
// and 2 for wrong usage.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"scopeward/internal/config"
	"scopeward/internal/strictyaml"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its surroundings passed in; it returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	used, err := root.ExecuteC()
	if err == nil {
		return 0
	}
	var usage *usageError
	var problems strictyaml.Problems
	switch {
	case errors.Is(err, errReported):
		return 1
	case errors.As(err, &problems):
		printProblems(stderr, problems)
		return 1
	case errors.As(err, &usage), errors.Is(err, config.ErrUsage):
		fmt.Fprintf(stderr, "scopeward: %v\nRun '%s --help' for how to use it.\n", err, used.CommandPath())
		return 2
	default:
		fmt.Fprintf(stderr, "scopeward: %v\n", err)
		return 1
	}
}

// usageError is a command line that says nothing sensible: exit status 2.
type usageError struct{ error }

// errReported is an error whose details have been printed already.
var errReported = errors.New("reported")

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "scopeward",
		Short: "An Envoy external authorization service for OAuth scopes",
		Long: `Scopeward answers Envoy's external authorization requests: it validates the OAuth
bearer token of each request and applies the scope policy that you keep in files.`,
		Example: `  scopeward serve --config scopeward.yaml
  KINDE_ISSUER_URL=https://acme.kinde.com KINDE_AUDIENCE=https://api.acme.dev scopeward serve --policy policy.yaml
  scopeward check --config scopeward.yaml`,
		Version:       readBuild().Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newServe(), newCheck(), newPolicy(), newDoctor(), newSchema(), newAudit(), newHealthcheck(), newLogin(), newToken(), newAPIKey(), newRevoke(), newInit(), newVersion())
	root.AddCommand(tools()...)
	completable(root)
	return root
}

// unknownCommand refuses arguments, with a suggestion where one is near.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	message := fmt.Sprintf("unknown command %q", args[0])
	var known []string
	for _, below := range cmd.Commands() {
		known = append(known, below.Name())
	}
	if near := strictyaml.Nearest(args[0], known); near != "" {
		message += fmt.Sprintf(" (did you mean %s?)", near)
	}
	return &usageError{errors.New(message)}
}

// flagError is the error of a flag, with a suggestion where one is near.
func flagError(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || unknown.GetSpecifiedShortnames() != "" {
		return &usageError{err}
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if near := strictyaml.Nearest(unknown.GetSpecifiedName(), known); near != "" {
		err = fmt.Errorf("%w (did you mean --%s?)", err, near)
	}
	return &usageError{err}
}

// noArguments is for commands that are told everything by flags.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("%s takes no arguments, only flags; what is %q?", cmd.CommandPath(), args[0])}
	}
	return nil
}

// configFlags are the flags of every command that reads a configuration.
func configFlags(cmd *cobra.Command, o *config.Options) {
	cmd.Flags().StringVarP(&o.File, "config", "c", "", "the configuration `file`")
	policyFlag(cmd, &o.Policy, "a policy `file` or directory; replaces those of the configuration (repeatable)")
}

// policyFlag is the flag of every command that reads policies.
func policyFlag(cmd *cobra.Command, files *[]string, usage string) {
	cmd.Flags().StringArrayVarP(files, "policy", "p", nil, usage)
}

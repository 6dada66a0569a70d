package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"scopeward/internal/config"
	"scopeward/internal/doctor"
	"scopeward/internal/doctor/source"
	"scopeward/policy"
)

func newDoctor() *cobra.Command {
	o := config.Options{Secrets: config.NoSecrets}
	var with doctor.Options
	var output string
	var list bool
	cmd := &cobra.Command{
		Use:   "doctor ENVOY_ADMIN_URL|BOOTSTRAP",
		Short: "Tell what in an Envoy weakens the protection",
		Long: `doctor reads the configuration of an Envoy and says in words what in it weakens the protection:
ways around Scopeward, requests that pass without its answer, paths, client addresses and
identity headers that Envoy, Scopeward and your service would see differently, and more; --list
tells all checks. It changes nothing.

It asks a running Envoy for /config_dump at its admin interface (http://127.0.0.1:9901, or
unix:///run/envoy/admin.sock; in Kubernetes by kubectl port-forward, to port 15000 with Istio and
19000 with Envoy Gateway): with all that came from a control plane. Or it reads a file, - is
standard input: a bootstrap (YAML or JSON), or a saved config dump.

With --config it knows trusted_hops, the identity headers, the providers' timeouts and the policy;
with --policy alone, the policy.
Without, it takes the defaults, and x-auth-... for the identity headers.

Each finding has a name, a severity, its place (jq '.PLACE' shows it), why it weakens, and what to
write instead. high opens; medium opens together with something else, or closes everything; low
misleads or costs; info could not be told. What is meant to be so, say with a reason in the
metadata of the listener, filter chain, cluster, virtual host or route that it is in:

    metadata: {filter_metadata: {scopeward.doctor: {route-bypass: "the probe of the load balancer"}}}

or leave it out with --ignore. What Lua files, WebAssembly and other processes do can't be told.

With --output json: {ok, source, listeners, routes, filters, services, findings: [{name, severity,
where, line, column, listener, virtual_host, route, cluster, why, fix}]}; line and column are those
in YAML. With --list: [{name, severity, doc}].

The exit status is 0 without findings, 1 with findings or if there is nothing to read, 2 for wrong
usage.`,
		Example: `  scopeward doctor envoy.yaml
  scopeward doctor http://127.0.0.1:9901 --config scopeward.yaml
  istioctl proxy-config all deploy/ingressgateway -n istio-system -o json | scopeward doctor -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if list && len(args) > 0 {
				return &usageError{errors.New("--list takes no Envoy")}
			}
			if list {
				return nil
			}
			return oneArgument("the address of Envoy's admin interface or a bootstrap file")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if list {
				return listChecks(cmd.OutOrStdout(), doctorChecks(), output)
			}
			hops := cmd.Flags().Lookup("trusted-hops")
			if err := doctorOptions(o, &with, hops.Changed); err != nil {
				return err
			}
			return runDoctor(cmd, args[0], with, output)
		},
	}
	configFlags(cmd, &o)
	cmd.Flags().IntVar(&with.TrustedHops, "trusted-hops", 0, "rate_limit.trusted_hops, instead of the configuration's")
	cmd.Flags().StringVar(&with.Cluster, "cluster", "", "the `name` of the cluster that is Scopeward, if ext_authz filters ask several")
	cmd.Flags().StringArrayVar(&with.Ignore, "ignore", nil, "the `name` of a check to leave out (repeatable)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().BoolVar(&list, "list", false, "tell all checks")
	return cmd
}

// doctorOptions says what Scopeward is set to.
func doctorOptions(o config.Options, with *doctor.Options, hopsGiven bool) error {
	if with.TrustedHops < 0 {
		return &usageError{fmt.Errorf("--trusted-hops is %d; it must be 0 or more", with.TrustedHops)}
	}
	for _, name := range with.Ignore {
		if !slices.ContainsFunc(doctor.Checks(), func(c doctor.Check) bool { return c.Name == name }) {
			return &usageError{fmt.Errorf("--ignore %s: there is no check of this name; --list tells them", name)}
		}
	}
	if o.File == "" {
		return doctorPolicy(o.Policy, with)
	}
	f, err := config.Load(o)
	if err != nil {
		return err
	}
	if !hopsGiven {
		with.TrustedHops = f.Config.RateLimit.Hops.Trusted
	}
	with.Headers = f.Config.HeaderNames()
	with.Reads, with.Edits = f.Config.LooksAt(), f.Config.Credentials.Edited()
	for _, p := range f.Config.Providers {
		with.Timeout = max(with.Timeout, p.Timeout)
	}
	admits(f.Policy, with)
	return nil
}

// doctorPolicy tells the doctor of policies without a configuration.
func doctorPolicy(files []string, with *doctor.Options) error {
	if len(files) == 0 {
		return nil
	}
	set, err := policy.Load(files...)
	if err == nil {
		admits(set, with)
	}
	return err
}

// admits says which forms of paths the policy lets in.
func admits(set *policy.Set, with *doctor.Options) {
	with.EncodedSlash = set.AdmitsEncodedSlash()
	with.Body = set.Uses("request.json")
	with.EscapedUnreserved = set.AdmitsEscapedUnreserved()
	if set.LetsPreflightsPass() {
		if with.Reads == nil { // nobody said where credentials are
			with.Reads = []string{"authorization"}
		}
		with.Reads = append(with.Reads, "origin", "access-control-request-method")
	}
}

func runDoctor(cmd *cobra.Command, target string, with doctor.Options, output string) error {
	from, data, err := source.Read(cmd.Context(), target, cmd.InOrStdin())
	if _, ok := errors.AsType[*source.TargetError](err); ok {
		return &usageError{err}
	}
	if err != nil {
		return err
	}
	config, err := doctor.Parse(data)
	if err != nil {
		return from.NotEnvoy(err)
	}
	report, err := config.Examine(with)
	var unknown *doctor.UnknownClusterError
	if errors.As(err, &unknown) {
		return &usageError{fmt.Errorf("--cluster: %w", err)}
	}
	if err != nil {
		return err
	}
	if output == "json" {
		err = printDoctorJSON(cmd.OutOrStdout(), report, from)
	} else {
		err = printDoctor(forPeople(cmd.OutOrStdout()), forPeople(cmd.ErrOrStderr()), report, from, with)
	}
	if err == nil && len(report.Findings) > 0 {
		return errReported
	}
	return err
}

func printDoctor(stdout, stderr io.Writer, report *doctor.Report, from source.Source, with doctor.Options) error {
	for _, f := range report.Findings {
		place := from.Name
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d", place, f.Line, f.Column)
		}
		for _, in := range [][2]string{{"listener", f.Listener}, {"virtual host", f.VirtualHost}, {"route", f.Route}, {"cluster", f.Cluster}} {
			if in[1] != "" {
				place += ", " + in[0] + " " + in[1]
			}
		}
		if _, err := fmt.Fprintf(stdout, "%s: %s (%s)\n    at   %s\n    why  %s\n    fix  %s\n", f.Severity, f.Name, place, f.Where, f.Why, f.Fix); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(stderr, "%s. Looked at %s, %s and %s%s.\n", count(len(report.Findings), "finding"),
		count(report.Listeners, "listener"), count(report.Routes, "route"), count(report.Filters, "ext_authz filter"), asks(report.Services, with))
	if err == nil && len(report.Findings) > 0 {
		_, err = fmt.Fprintln(stderr, "What is meant to be so: say why in its metadata, or --ignore NAME (scopeward doctor --help).")
	}
	return err
}

// asks says what was taken for Scopeward.
func asks(services []string, with doctor.Options) string {
	switch {
	case len(services) == 0:
		return ""
	case len(services) == 1 || with.Cluster != "":
		return " that asks " + services[0]
	default:
		return fmt.Sprintf(" that ask %s, all taken for Scopeward (--cluster NAME if one is)", strings.Join(services, ", "))
	}
}

func printDoctorJSON(w io.Writer, report *doctor.Report, from source.Source) error {
	type finding struct {
		Name        string `json:"name"`
		Severity    string `json:"severity"`
		Where       string `json:"where"`
		Line        int    `json:"line,omitempty"`
		Column      int    `json:"column,omitempty"`
		Listener    string `json:"listener,omitempty"`
		VirtualHost string `json:"virtual_host,omitempty"`
		Route       string `json:"route,omitempty"`
		Cluster     string `json:"cluster,omitempty"`
		Why         string `json:"why"`
		Fix         string `json:"fix"`
	}
	findings := []finding{}
	for _, f := range report.Findings {
		findings = append(findings, finding{f.Name, f.Severity.String(), f.Where, f.Line, f.Column, f.Listener, f.VirtualHost, f.Route, f.Cluster, f.Why, f.Fix})
	}
	return printJSON(w, struct {
		OK        bool      `json:"ok"`
		Source    string    `json:"source"`
		Listeners int       `json:"listeners"`
		Routes    int       `json:"routes"`
		Filters   int       `json:"filters"`
		Services  []string  `json:"services"`
		Findings  []finding `json:"findings"`
	}{len(findings) == 0, from.Name, report.Listeners, report.Routes, report.Filters, append([]string{}, report.Services...), findings})
}

func doctorChecks() []checkDoc {
	var docs []checkDoc
	for _, c := range doctor.Documentation() {
		docs = append(docs, checkDoc{c.Name, c.Severity.String(), c.Doc})
	}
	return docs
}

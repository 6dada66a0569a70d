package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"scopeward/cmd/demo/idp"
)

// request is one line to paste: what will be answered, why, and the command.
type request struct {
	status int
	why    string
	token  string // the shell variable that holds it; none if empty
	method string // GET if empty
	path   string
}

// requests are what a newcomer should see, in this order.
func requests() []request {
	return []request{
		{200, "GET /users asks for the scope read:users, and this token has it (signature checked with the provider's keys)", "TOKEN", "", "/users"},
		{401, "the same without a token", "", "", "/users"},
		{401, "the token expired an hour ago", "EXPIRED", "", "/users"},
		{403, "POST /users asks for the scope write:users, which this token lacks", "TOKEN", "POST", "/users"},
		{200, "a machine's token, by client credentials, has write:users", "MACHINE", "POST", "/users"},
		{200, "everything below /public/ is public", "", "", "/public/hello"},
		{200, "the provider vouches for this token: validated by profile lookup (user_profile)", "PROFILE", "", "/users"},
		{200, "signature and profile lookup agree on this token", "BOTH", "", "/users"},
		{200, "an opaque token, validated by introspection (RFC 7662)", "OPAQUE", "", "/users"},
		{200, "the condition path.id == identity.subject holds", "TOKEN", "", "/users/" + idp.Subject},
		{403, "the same condition does not hold for another user", "TOKEN", "", "/users/kp_somebody_else"},
		{403, "no rule matches, so nobody may", "TOKEN", "", "/elsewhere"},
		{400, "two parties could read this path differently", "TOKEN", "", "/public/../users"},
	}
}

// requestsCommand prints the requests for a system that runs elsewhere, such as in containers: tokens of its identity provider, curl lines
// for its Envoy.
func requestsCommand(ctx context.Context, args []string, out io.Writer) error {
	flags := newFlags("demo requests")
	var p provider
	dirFlag(flags, &p.dir)
	base := flags.String("base", cmp.Or(os.Getenv("DEMO_BASE"), fmt.Sprintf("http://%s", loopback(defaultPort))), "the `URL` at which Envoy is reached; also $DEMO_BASE")
	if err := parse(flags, args); err != nil {
		return err
	}
	if p.dir == "" || flags.NArg() > 0 {
		return usageError{errors.New("demo requests needs --dir and takes no arguments")}
	}
	err := p.read()
	if err == nil {
		p.url, err = readFile(p.dir, urlFile)
	}
	if err != nil {
		return err
	}
	tokens, err := getTokens(ctx, &p)
	if err != nil {
		return err
	}
	all := tokens.variables()
	if _, err := fmt.Fprintf(out, "export API=%s TOKEN=%s\n%s\n", *base, all[0].token, exports(all[1:])); err != nil {
		return err
	}
	for _, r := range requests() {
		if _, err := fmt.Fprintf(out, "%s\n\n", r.render("$API", r.bearer())); err != nil {
			return err
		}
	}
	return nil
}

// exports is a shell script that sets the variables.
func exports(all []variable) string {
	var b strings.Builder
	for _, v := range all {
		fmt.Fprintf(&b, "export %s=%s\n", v.name, v.token)
	}
	return b.String()
}

// bearer is what a shell expands to the request's token.
func (r request) bearer() string {
	if r.token == "" {
		return ""
	}
	return "$" + r.token
}

// render writes the comment and the command. The command exits 0 whatever the status is.
func (r request) render(base, bearer string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %d: %s\ncurl -sSi --noproxy '*'", r.status, r.why)
	if strings.Contains(r.path, "..") {
		b.WriteString(" --path-as-is")
	}
	if r.method != "" {
		fmt.Fprintf(&b, " -X %s", r.method)
	}
	if bearer != "" {
		fmt.Fprintf(&b, ` -H "Authorization: Bearer %s"`, bearer)
	}
	fmt.Fprintf(&b, " %s%s", base, r.path)
	return b.String()
}

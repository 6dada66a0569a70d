package explain

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"
)

// String tells the explanation as a person would.
func (e Explanation) String() string {
	var b strings.Builder
	for _, note := range e.Notes {
		fmt.Fprintf(&b, "Note: %s.\n", note)
	}
	b.WriteString(e.verdict() + "\n\n")
	if e.Code == InvalidPath {
		b.WriteString("Path: ambiguous: two programs could read it differently, so it is refused before any rule is asked\n")
	} else {
		fmt.Fprintf(&b, "Path: %s\n", printable(e.Request.Path))
	}
	e.writeRule(&b)
	for _, c := range e.Checks {
		c.write(&b)
	}
	if len(e.Nearest) > 0 {
		b.WriteString("The nearest rules:\n")
	}
	for _, n := range e.Nearest {
		fmt.Fprintf(&b, "  %s at %s\n", n.Pattern, n.Place)
		for _, why := range n.Why {
			fmt.Fprintf(&b, "    %s\n", why)
		}
	}
	if e.Response != nil {
		e.Response.write(&b)
	}
	if len(e.ToPass) > 0 {
		what := "To pass it needs"
		if e.WouldBe != "" {
			what = "To pass under mode: enforce it needs"
		}
		fmt.Fprintf(&b, what+":\n  %s\n", strings.Join(e.ToPass, ",\n  and "))
	}
	return b.String()
}

func (e Explanation) verdict() string {
	request := printable(e.Request.Method) + " " + printable(e.Request.Path)
	if e.Request.Host != "" {
		request += " on " + printable(e.Request.Host)
	}
	if e.Policy != "" {
		request += " under the policy " + printable(e.Policy)
	}
	switch {
	case e.WouldBe != "":
		return fmt.Sprintf("%s is allowed only as the rule's mode is audit; else it would be denied (%s): %s.", request, e.WouldBe, e.Reason)
	case e.Allowed:
		return request + " is allowed."
	}
	return fmt.Sprintf("%s is denied (%s): %s.", request, e.Code, e.Reason)
}

func (e Explanation) writeRule(b *strings.Builder) {
	if e.Rule == nil {
		if e.Code != InvalidPath {
			b.WriteString("Rule: none")
			if len(e.Nearest) == 0 {
				b.WriteString(", and none is near")
			}
			b.WriteString("\n")
		}
		return
	}
	fmt.Fprintf(b, "Rule: %s at %s", e.Rule.Pattern, e.Rule.Place)
	if e.Rule.Name != "" {
		fmt.Fprintf(b, " (%s)", e.Rule.Name)
	}
	switch {
	case e.Rule.Preflight:
		b.WriteString(", which the browser asks for: preflight: public lets its question pass")
	case e.Rule.Access == "public":
		b.WriteString(", public: no token is needed")
	case e.Rule.Access == "deny":
		b.WriteString(", deny: nobody may")
	}
	if e.Rule.Optional {
		b.WriteString(", optional: without a token it passes as nobody")
	}
	if e.Rule.Audit {
		b.WriteString(", mode: audit: not enforced")
	}
	b.WriteString("\n")
}

func (c Check) write(b *strings.Builder) {
	fmt.Fprintf(b, "  %-8s", c.State)
	if c.Kind == "when" {
		b.WriteString("when ")
	}
	b.WriteString(c.Text)
	if c.Detail != "" {
		b.WriteString(": " + c.Detail)
	}
	b.WriteString("\n")
	if c.When != nil {
		for _, part := range c.When.Parts {
			part.write(b, "          ")
		}
	}
}

func (p Part) write(b *strings.Builder, indent string) {
	value := Show(p.Value)
	if p.Error != "" {
		value = "error, " + p.Error
	}
	fmt.Fprintf(b, "%s%s is %s\n", indent, p.Text, value)
	for _, part := range p.Parts {
		part.write(b, indent+"  ")
	}
}

func (r Response) write(b *strings.Builder) {
	if r.Status == http.StatusOK {
		b.WriteString("The client gets: the upstream's answer\n")
		if r.IdentityToken != "" {
			fmt.Fprintf(b, "The upstream gets: an identity token in %s\n", r.IdentityToken)
		}
		return
	}
	fmt.Fprintf(b, "The client gets: %d %s\n", r.Status, http.StatusText(r.Status))
	for _, h := range []struct{ name, value string }{{"WWW-Authenticate", r.Challenge}, {"Location", r.Location}, {"Content-Type", r.ContentType}} {
		if h.value != "" {
			fmt.Fprintf(b, "  %s: %s\n", h.name, printable(h.value))
		}
	}
	for line := range strings.Lines(r.Body) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			line = printable(line)
		}
		fmt.Fprintf(b, "  %s\n", line)
	}
}

// printable quotes text that could do something to a terminal.
func printable(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

package inspect

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Print shows an Inspection to a person.
func (found Inspection) Print(w io.Writer, now time.Time) error {
	var b strings.Builder
	for _, note := range found.Notes {
		fmt.Fprintf(&b, "Note: %s.\n", note)
	}
	found.part(&b, "Header", found.Header, now)
	found.part(&b, "Claims", found.Claims, now)
	for _, part := range found.Unreadable {
		fmt.Fprintf(&b, "Unreadable: %s.\n", part)
	}
	b.WriteString("Checks\n")
	for _, c := range found.Checks {
		fmt.Fprintf(&b, "  %-7s %-10s  %s\n", c.State, c.Name, c.Text)
		if c.Detail != "" {
			fmt.Fprintf(&b, "          why:        %s\n", c.Detail)
		}
		if c.Advice != "" {
			fmt.Fprintf(&b, "          what to do: %s\n", c.Advice)
		}
	}
	b.WriteString("\n" + found.verdict() + "\n")
	if found.Request != nil {
		b.WriteString("\n" + found.Request.String())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (found Inspection) verdict() string {
	switch found.Verdict {
	case Accepted:
		who := found.Identity.Subject
		if who == "" {
			who = "the client " + found.Identity.ClientID
		}
		scopes := "no scopes"
		if len(found.Identity.Scopes) > 0 {
			scopes = "the scopes " + strings.Join(found.Identity.Scopes, " ")
		}
		return fmt.Sprintf("The server accepts it, as %s with %s.", plainText(who), scopes)
	case Refused:
		return fmt.Sprintf("The server REFUSES it: %s.", found.Reason)
	case Unknown:
		if found.Reason != "" {
			return fmt.Sprintf("It CAN'T BE TOLD whether the server accepts it: %s.", found.Reason)
		}
	}
	return "It CAN'T BE TOLD whether the server accepts it: nothing here failed, but issuer and audience are not checked."
}

// part shows the members of header or claims in columns: first the registered ones.
func (found Inspection) part(b *strings.Builder, title string, members map[string]any, now time.Time) {
	if len(members) == 0 {
		return
	}
	first := []string{"alg", "typ", "kid", "iss", "sub", "aud", "azp", "client_id", "scope", "scp", "iat", "nbf", "exp"}
	names := slices.Sorted(maps.Keys(members))
	slices.SortStableFunc(names, func(x, y string) int { return rank(first, x) - rank(first, y) })
	width := 0
	for _, name := range names {
		width = min(max(width, len(plainText(name))), 24)
	}
	fmt.Fprintf(b, "%s\n", title)
	for _, name := range names {
		value := quoted(members[name])
		if at, ok := found.Dates[name]; ok && title == "Claims" {
			value = fmt.Sprintf("%s (%s)", localTime(at), relative(at.Sub(now)))
		}
		fmt.Fprintf(b, "  %-*s  %s\n", width, plainText(name), value)
	}
	b.WriteString("\n")
}

func rank(first []string, name string) int {
	if i := slices.Index(first, name); i >= 0 {
		return i
	}
	return len(first)
}

// plainText is text as it is, or quoted if it could steer a terminal or mislead the eye.
func plainText(s string) string {
	if s == "" || strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return strconv.QuoteToASCII(s)
	}
	return s
}

package diff

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"scopeward/policy"
)

// Summary gives the result in a line.
func (r *Report) Summary() string {
	var parts []string
	add := func(n int, one, many string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+one)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", n, many))
		}
	}
	add(r.Count(Opens), "change opens requests", "changes open requests")
	add(r.Count(Changes), "change opens requests for some and closes them for others", "changes open requests for some and close them for others")
	add(r.Count(MayDiffer), "change may open requests", "changes may open requests")
	add(r.Count(Closes), "change closes requests", "changes close requests")
	add(len(r.Incomplete), "policy overlaps too much to be compared, and may open requests", "policies overlap too much to be compared, and may open requests")
	switch {
	case len(parts) == 0:
		return "No change: the same requests pass."
	case !r.Opens():
		return join(parts) + "; nothing opens."
	default:
		return join(parts) + "."
	}
}

var titles = map[Kind]string{Opens: "OPENS", Changes: "CHANGES", MayDiffer: "MAY DIFFER", Closes: "CLOSES"}

// Text writes the report for people.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	for _, name := range r.Incomplete {
		fmt.Fprintf(&b, "MAY DIFFER  %s: its rules overlap in too many ways to be compared\n\n", policyWords(name))
	}
	for _, c := range r.Changes {
		fmt.Fprintf(&b, "%s  %s\n", titles[c.Kind], strings.Join(c.Requests, ", "))
		for _, note := range c.notes() {
			fmt.Fprintf(&b, "    %s\n", note)
		}
		fmt.Fprintf(&b, "    was         %s\n    now         %s\n", at(c.Old, c.passes[0]), at(c.New, c.passes[1]))
		for _, who := range c.OpensFor {
			fmt.Fprintf(&b, "    %-12s%s\n", c.opensLabel(), who)
		}
		for _, who := range c.ClosesFor {
			fmt.Fprintf(&b, "    closes for  %s\n", who)
		}
		for _, who := range c.MayCloseFor {
			fmt.Fprintf(&b, "    may keep out %s\n", who)
		}
		fmt.Fprintf(&b, "    such as     %s\n", c.Example)
		for _, with := range c.With {
			fmt.Fprintf(&b, "      with      %s\n", with)
		}
		b.WriteString("\n")
	}
	b.WriteString(r.Summary() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (c Change) opensLabel() string {
	if c.Kind == MayDiffer {
		return "may let in"
	}
	return "opens for"
}

// notes say what requests the change is about, besides their patterns.
func (c Change) notes() []string {
	var notes []string
	if c.Policy != "" {
		notes = append(notes, "in the policy "+c.Policy)
	}
	if c.Preflight {
		notes = append(notes, "as a browser's preflight request (OPTIONS with Origin and Access-Control-Request-Method)")
	}
	if c.EncodedSlash {
		notes = append(notes, "where a segment has an encoded slash (%2F)")
	}
	if c.EscapedUnreserved {
		notes = append(notes, "where the path escapes a character that needs no escape (%61 for a)")
	}
	return notes
}

func policyWords(name string) string {
	if name == "" {
		return "the default policy"
	}
	return "the policy " + name
}

func at(r *policy.Rule, preflight bool) string {
	if r == nil {
		return Needs(r)
	}
	return fmt.Sprintf("%s (%s)", needs(r, preflight), r.Pos)
}

// maxRows bounds the rows of Markdown: comments on pull requests are limited.
const maxRows = 100

// Markdown writes the report as a comment for a pull request. Texts of the
// policies stand in code spans, where they can't be markup.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### Policy changes\n\n%s\n", r.Summary())
	for _, name := range r.Incomplete {
		fmt.Fprintf(&b, "\n- %s could not be compared\n", code(policyWords(name)))
	}
	if len(r.Changes) > 0 {
		b.WriteString("\n| | Requests | Was | Now | For whom |\n|---|---|---|---|---|\n")
	}
	for i, c := range r.Changes {
		if i == maxRows {
			fmt.Fprintf(&b, "\nand %d more: run `scopeward policy diff` to see them.\n", len(r.Changes)-i)
			break
		}
		requests := codes(c.Requests)
		for _, note := range c.notes() {
			requests = append(requests, code(note))
		}
		such := "such as " + code(c.Example)
		if len(c.With) > 0 {
			such += " with " + code(strings.Join(c.With, ", "))
		}
		requests = append(requests, such)
		var who []string
		for _, words := range c.OpensFor {
			who = append(who, c.opensLabel()+" "+code(words))
		}
		for _, words := range c.ClosesFor {
			who = append(who, "closes for "+code(words))
		}
		for _, words := range c.MayCloseFor {
			who = append(who, "may keep out "+code(words))
		}
		fmt.Fprintf(&b, "| **%s** | %s | %s | %s | %s |\n", strings.ToLower(titles[c.Kind]), strings.Join(requests, "<br>"), code(at(c.Old, c.passes[0])), code(at(c.New, c.passes[1])), strings.Join(who, "<br>"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// maxCodes bounds the patterns in one cell.
const maxCodes = 20

func codes(texts []string) []string {
	var all []string
	for i, text := range texts {
		if i == maxCodes {
			return append(all, fmt.Sprintf("and %d more", len(texts)-i))
		}
		all = append(all, code(text))
	}
	return all
}

// code makes a code span for a table cell: its fence is longer than any in text.
func code(text string) string {
	text = strings.ReplaceAll(text, "|", `\|`)
	fence := "`"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	if len(fence) > 1 {
		return fence + " " + text + " " + fence
	}
	return fence + text + fence
}

type ruleJSON struct {
	Name   string `json:"name,omitempty"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Needs  string `json:"needs"`
}

type changeJSON struct {
	Kind              string    `json:"kind"`
	Opens             bool      `json:"opens"`
	Policy            string    `json:"policy,omitempty"`
	Requests          []string  `json:"requests"`
	Example           string    `json:"example"`
	With              []string  `json:"example_with,omitempty"`
	EncodedSlash      bool      `json:"encoded_slash,omitempty"`
	EscapedUnreserved bool      `json:"escaped_unreserved,omitempty"`
	Preflight         bool      `json:"preflight,omitempty"`
	Old               *ruleJSON `json:"old"` // null: no rule
	New               *ruleJSON `json:"new"`
	OpensFor          []string  `json:"opens_for"`
	ClosesFor         []string  `json:"closes_for"`
	MayCloseFor       []string  `json:"may_close_for,omitempty"`
}

// JSON writes the report for machines.
func (r *Report) JSON(w io.Writer) error {
	changes := []changeJSON{}
	for _, c := range r.Changes {
		changes = append(changes, changeJSON{
			Kind: c.Kind.String(), Opens: c.Kind.Opens(), Policy: c.Policy, Requests: c.Requests,
			Example: c.Example, With: c.With, EncodedSlash: c.EncodedSlash, EscapedUnreserved: c.EscapedUnreserved, Preflight: c.Preflight,
			Old: newRuleJSON(c.Old, c.passes[0]), New: newRuleJSON(c.New, c.passes[1]), OpensFor: list(c.OpensFor), ClosesFor: list(c.ClosesFor), MayCloseFor: c.MayCloseFor,
		})
	}
	summary := map[string]int{}
	for _, k := range []Kind{Opens, Changes, MayDiffer, Closes} {
		summary[k.String()] = r.Count(k)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Opens      bool           `json:"opens"`
		Old        string         `json:"old_version"`
		New        string         `json:"new_version"`
		Summary    map[string]int `json:"summary"`
		Incomplete []string       `json:"incomplete"`
		Changes    []changeJSON   `json:"changes"`
	}{r.Opens(), r.OldVersion, r.NewVersion, summary, list(r.Incomplete), changes})
}

func newRuleJSON(r *policy.Rule, preflight bool) *ruleJSON {
	if r == nil {
		return nil
	}
	return &ruleJSON{r.Name, r.Pos.File, r.Pos.Line, r.Pos.Column, needs(r, preflight)}
}

// list gives an empty list instead of null.
func list(all []string) []string { return append([]string{}, all...) }

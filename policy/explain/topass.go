package explain

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"scopeward/policy"
)

// toPass says what a request needs that it does not have.
func toPass(out Outcome, checks []Check, q Question) []string {
	if out.Code == Allow && out.WouldBe == "" {
		return nil
	}
	var needs []string
	for _, c := range checks {
		if c.State == Held {
			continue
		}
		switch c.Kind {
		case "when":
			needs = append(needs, conditionToPass(out, c, q))
		case "scopes":
			if c.State == Failed {
				needs = append(needs, allOf(c.Lacks)+" in the token")
				continue
			}
			fallthrough
		case "any_scopes":
			needs = append(needs, c.Text+" in the token")
		default:
			needs = append(needs, c.Text)
		}
	}
	return needs
}

func conditionToPass(out Outcome, c Check, q Question) string {
	if c.State == Unknown {
		return "that " + c.Text
	}
	tree, _ := out.Match.Explain(q.Identity)
	if need := need(tree, true); need.text != "" {
		return "that " + need.text
	}
	return "that " + c.Text
}

// needed is a part of a condition that must change; several says that it needs
// parentheses among others.
type needed struct {
	text    string
	several bool
}

// need says what must change for a part of a condition to have a value, "" if it
// has it.
func need(p policy.Part, want bool) needed {
	if value, ok := p.Value.(bool); ok && p.Err == nil && value == want {
		return needed{}
	}
	switch {
	case p.Op == policy.OpNot:
		return need(p.Parts[0], !want)
	case p.Op == policy.OpAnd && want, p.Op == policy.OpOr && !want:
		return join(p.Parts, want, " and ")
	case p.Op == policy.OpAnd, p.Op == policy.OpOr:
		return join(p.Parts, want, " or ")
	}
	text := p.Text
	if !want {
		text += " is false"
	}
	if now := facts(p); now != "" {
		text += " (now " + now + ")"
	}
	return needed{text: text}
}

func join(parts []policy.Part, want bool, word string) needed {
	var all []needed
	for _, p := range parts {
		n := need(p, want)
		if isConstant(p) && n.text != "" && word == " or " {
			continue // it will never be otherwise: leave it out of the ways
		}
		if n.text != "" {
			all = append(all, n)
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	texts := make([]string, len(all))
	for i, n := range all {
		if texts[i] = n.text; n.several {
			texts[i] = "(" + n.text + ")"
		}
	}
	return needed{text: strings.Join(texts, word), several: true}
}

func isConstant(p policy.Part) bool { return p.Text == "true" || p.Text == "false" }

// facts gives the values that a part is made of, or why it has none.
func facts(p policy.Part) string {
	if p.Err != nil {
		return "it cannot be evaluated: " + p.Err.Error()
	}
	var all []string
	for _, operand := range p.Parts {
		if operand.Err == nil {
			all = append(all, operand.Text+" is "+Show(operand.Value))
		}
	}
	return strings.Join(all, ", ")
}

// maxShown bounds how much of a value is shown, in bytes.
const maxShown = 200

// Show writes a value as JSON, cut if it is long.
func Show(value any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return "?"
	}
	text := escapeControls(strings.TrimSpace(b.String()))
	if len(text) > maxShown {
		return strings.ToValidUTF8(text[:maxShown], "") + fmt.Sprintf("... (%d bytes)", len(text))
	}
	return text
}

// escapeControls writes the controls that JSON leaves as they are, of which a
// terminal could take note, as JSON would write others.
func escapeControls(s string) string {
	if !strings.ContainsFunc(s, isInvisible) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isInvisible(r) && r <= 0xffff {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isInvisible is true also of those that change the direction of a line.
func isInvisible(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }

func plainPath(reason string) string {
	switch {
	case strings.Contains(reason, "escaped slash"):
		return "a path without %2F; paths: {allow: [encoded_slash]} in the policy file admits it within one {segment}"
	case strings.Contains(reason, "needs no escape"):
		return "a path with letters, digits, - _ and ~ as they are; paths: {allow: [escaped_unreserved]} in the policy file admits their escapes"
	}
	return "a request that no two programs read differently: " + reason
}

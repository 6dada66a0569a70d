package openapi

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"scopeward/policy"
)

// Import is a policy made from a document.
type Import struct {
	Policy []byte // the policy file, with tests
	Rules  []ImportedRule
}

// ImportedRule is a rule of the policy, and the operations that it is for.
type ImportedRule struct {
	Operations []*Operation
	Between    bool // they have rules of their own: this one is for requests that may be for several
	Patterns   []string
	Access     policy.Access
	Scopes     []string
	AnyScopes  []string
	When       string
}

// Policy makes a policy from the document: a rule and tests for each operation.
// What cannot be expressed is denied, with its notes as comments. The policy
// has been parsed, and its tests hold.
func (d *Document) Policy() (*Import, error) {
	out := &Import{}
	for _, r := range d.rules {
		out.Rules = append(out.Rules, r.imported())
	}
	text := out.header(d)
	set, err := policy.Parse(policy.File{Name: d.File + " as a policy", Data: []byte(text)})
	if err != nil {
		return nil, fmt.Errorf("the policy made of the document is refused, which is a mistake of this program: %w", err)
	}
	tests, err := out.tests(d, set)
	if err != nil {
		return nil, err
	}
	out.Policy = []byte(text + tests)
	return out, nil
}

// imported says what the rule is, with the patterns that a request can match.
func (r *rule) imported() ImportedRule {
	out := ImportedRule{Operations: r.operations, Between: r.between}
	for _, p := range r.patterns {
		if err := acceptable(p.String()); err != nil {
			r.operations[0].note(r.operations[0].Pos, "no request can match %s", printable(p.String()))
		} else {
			out.Patterns = append(out.Patterns, p.String())
		}
	}
	t := r.terms()
	if len(t.when) > maxCondition {
		r.operations[0].note(r.operations[0].Pos, "the alternatives are too many for a condition")
		return out
	}
	out.Access, out.Scopes, out.AnyScopes, out.When = t.access, t.scopes, t.anyScopes, t.when
	return out
}

// acceptable asks the parser of policies.
func acceptable(pattern string) error {
	_, err := policy.Parse(policy.File{Name: "pattern", Data: []byte("version: 1\nrules:\n  - match: " + quoted(pattern) + "\n    deny: true\n")})
	return err
}

func (im *Import) header(d *Document) string {
	var w strings.Builder
	fmt.Fprintf(&w, "# Made from %s (%s %s) by scopeward policy import.\n", printable(d.File), d.Title, d.Version)
	fmt.Fprintf(&w, "# What no rule can express is denied, and a comment says why and where.\n")
	fmt.Fprintf(&w, "version: 1\nrules:\n")
	for _, r := range im.Rules {
		r.write(&w)
	}
	if !slices.ContainsFunc(im.Rules, func(r ImportedRule) bool { return len(r.Patterns) > 0 }) {
		fmt.Fprintf(&w, "  - match: /\n    deny: true\n")
	}
	return w.String()
}

func (r ImportedRule) write(w *strings.Builder) {
	if r.Between && len(r.Patterns) > 0 {
		fmt.Fprintf(w, "  # Requests that may be for any of these operations must meet all of them:\n")
		for _, op := range r.Operations {
			fmt.Fprintf(w, "  #   %s, %s\n", op.Pos, printable(op.String()))
		}
	}
	for _, op := range r.own() {
		fmt.Fprintf(w, "  # %s, %s\n", op.Pos, printable(op.describe()))
		for _, n := range op.Notes {
			fmt.Fprintf(w, "  #   %s: %s\n", n.Pos, n.Message)
		}
	}
	if len(r.Patterns) == 0 {
		return
	}
	patterns := make([]string, len(r.Patterns))
	for i, p := range r.Patterns {
		patterns[i] = quoted(p)
	}
	if len(patterns) == 1 {
		fmt.Fprintf(w, "  - match: %s\n", scalar(r.Patterns[0]))
	} else {
		fmt.Fprintf(w, "  - match: [%s]\n", strings.Join(patterns, ", "))
	}
	if name := r.name(); name != "" {
		fmt.Fprintf(w, "    name: %s\n", scalar(name))
	}
	switch r.Access {
	case policy.AccessPublic:
		fmt.Fprintf(w, "    public: true\n")
	case policy.AccessToken:
		r.writeTerms(w)
	default:
		fmt.Fprintf(w, "    deny: true\n")
	}
}

func (r ImportedRule) writeTerms(w *strings.Builder) {
	if len(r.Scopes) > 0 {
		fmt.Fprintf(w, "    scopes: %s\n", flow(r.Scopes))
	}
	if len(r.AnyScopes) > 0 {
		fmt.Fprintf(w, "    any_scopes: %s\n", flow(r.AnyScopes))
	}
	if r.When != "" {
		fmt.Fprintf(w, "    when: >-\n      %s\n", r.When)
	}
}

// own gives the operations that have no other rule.
func (r ImportedRule) own() []*Operation {
	if r.Between {
		return nil
	}
	return r.Operations
}

// name is the rule's action in audit events: the operation's id.
func (r ImportedRule) name() string {
	if r.Between || len(r.Operations) > 1 && r.Access == policy.AccessDeny {
		return ""
	}
	return r.Operations[0].ID
}

// describe names the operation and what it asks for.
func (o *Operation) describe() string {
	if o.Method == "" {
		return o.Path + " with all methods, is somewhere else"
	}
	return o.String() + " asks for " + o.Requirement.String()
}

var (
	plainBlock = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/_.{}$-]*( [A-Za-z0-9/_.{}$-]+)*$`)
	plainFlow  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*$`)
	reserved   = regexp.MustCompile(`(?i)^(true|false|null|yes|no|on|off|y|n|\.?nan|\.?inf)$`)
)

// scalar writes text as a YAML value in a block: as it is, where that is safe.
func scalar(s string) string {
	if plainBlock.MatchString(s) && !reserved.MatchString(s) {
		return s
	}
	return quoted(s)
}

// flow writes a list of text.
func flow(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = quoted(s)
		if plainFlow.MatchString(s) && !reserved.MatchString(s) {
			out[i] = s
		}
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// quoted writes text as JSON, which is YAML.
func quoted(s string) string {
	var w strings.Builder
	enc := json.NewEncoder(&w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""`
	}
	return strings.TrimSuffix(w.String(), "\n")
}

package lint

import (
	"slices"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
	"scopeward/policy/pattern"
)

// document is a policy file as it is written: the rules with the places of
// their parts, which a compiled rule does not keep, and the comments.
type document struct {
	file    string
	policy  string // its `name:`; empty: the default policy
	start   strictyaml.Pos
	rules   []*rule
	tests   []testYAML
	ignores []*ignore
}

// rule is a compiled rule and what is written for it.
type rule struct {
	*policy.Rule
	written  ruleYAML
	document *document
	when     *when // nil without `when`
}

// fileYAML and below are what the checks ask a file for. policy.Parse has
// refused what is wrong in it, so the keys that are not here are no mistakes.
type fileYAML struct {
	Version strictyaml.Located[int]        `yaml:"version"`
	Name    strictyaml.Located[string]     `yaml:"name"`
	Rules   []strictyaml.Located[ruleYAML] `yaml:"rules"`
	Tests   strictyaml.Located[[]testYAML] `yaml:"tests"`
}

type ruleYAML struct {
	Scopes    []strictyaml.Located[string]                     `yaml:"scopes"`
	AnyScopes strictyaml.Located[[]strictyaml.Located[string]] `yaml:"any_scopes"`
	When      strictyaml.Text                                  `yaml:"when"`
	Mode      strictyaml.Located[string]                       `yaml:"mode"`
}

type testYAML struct {
	Request strictyaml.Located[string]   `yaml:"request"`
	Scopes  []strictyaml.Located[string] `yaml:"scopes"`
	Headers map[string]string            `yaml:"headers"`
	Expect  string                       `yaml:"expect"`
}

// newDocument reads a file that policy.Parse has taken; compiled starts with
// its rules.
func newDocument(f policy.File, compiled []*policy.Rule) *document {
	var in fileYAML
	strictyaml.Decode(f.Name, f.Data, &in)
	d := &document{file: f.Name, policy: in.Name.Value, start: strictyaml.Pos{File: f.Name, Line: 1, Column: 1}, tests: in.Tests.Value}
	if in.Version.Pos.Line != 0 {
		d.start = strictyaml.Pos{File: f.Name, Line: in.Version.Pos.Line, Column: 1}
	}
	for i, written := range in.Rules {
		r := &rule{Rule: compiled[i], written: written.Value, document: d}
		r.when = newWhen(r)
		d.rules = append(d.rules, r)
	}
	d.ignores = ignores(f)
	return d
}

// group is the files of one policy: what a request can meet.
type group struct {
	name      string
	set       *policy.Set
	documents []*document
	rules     []*rule
	byRule    map[*policy.Rule]*rule
	fresh     string // a segment, or label of a host, that no pattern names
	depth     int    // of the deepest pattern, in segments and its end
}

// groups gives the policies of the files, in the order of their names.
func groups(set *policy.Set, documents []*document) []*group {
	byName := map[string]*group{}
	var all []*group
	for _, d := range documents {
		g := byName[d.policy]
		if g == nil {
			g = &group{name: d.policy, set: set, byRule: map[*policy.Rule]*rule{}, fresh: "x"}
			byName[d.policy] = g
			all = append(all, g)
		}
		g.documents = append(g.documents, d)
		g.rules = append(g.rules, d.rules...)
	}
	for _, g := range all {
		literals := map[string]bool{}
		for _, r := range g.rules {
			g.byRule[r.Rule] = r
			for _, p := range r.Patterns {
				g.depth = max(g.depth, len(p.Segments)+1)
				label, _ := pattern.Label(p.Host)
				literals[label] = true
				for _, s := range p.Segments {
					literals[s.Literal] = true
				}
			}
		}
		for literals[g.fresh] {
			g.fresh += "x"
		}
	}
	return all
}

// match gives the rule that a request meets, nil if none.
func (g *group) match(method, host, target string) *rule {
	request, err := policy.NewRequest(method, host, target)
	if err != nil {
		return nil
	}
	m, err := g.set.Match(g.name, &request)
	if err != nil {
		return nil
	}
	return g.byRule[m.Rule()]
}

// silenced reports whether a comment silences a finding, and notes its use.
func (g *group) silenced(r *rule, pos strictyaml.Pos, name string) bool {
	lines := []int{pos.Line}
	if r != nil && r.Pos.File == pos.File {
		lines = append(lines, r.Pos.Line)
	}
	silenced := false
	for _, d := range g.documents {
		if d.file != pos.File {
			continue
		}
		for _, ig := range d.ignores {
			if ig.problem == "" && ig.check == name && slices.Contains(lines, ig.target) {
				ig.used, silenced = true, true
			}
		}
	}
	return silenced
}

// what names a rule for people.
func (r *rule) what() string {
	if r.Name != "" {
		return r.Name
	}
	return r.Patterns[0].Text
}

// Package lint finds what is likely wrong in a policy that loads: rules that
// say something else than their author meant. It asks policy.Set.Match for
// every claim about which rule a request meets, as the server does.
//
// A finding is silenced by a comment at the end of its line or of the first
// line of its rule, or on lines of its own straight before either:
//
//	# lint:ignore NAME reason
//
// A reason is required, and a comment that silences nothing is a finding.
package lint

import (
	"cmp"
	"slices"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
)

// Finding is something in a policy file that is likely not what was meant.
type Finding struct {
	strictyaml.Pos
	Check  string // the name of the check, for `# lint:ignore`
	Reason string // what is wrong, and what comes of it
	Advice string // what to do
}

// String gives "file:line:column: check: reason; advice".
func (f Finding) String() string {
	return f.Pos.String() + ": " + f.Check + ": " + f.Reason + "; " + f.Advice
}

// Check is something that Lint looks for. Its name is stable.
type Check struct {
	Name string
	Doc  string // what it finds, and why that matters

	run func(*group, reporter)
}

// Checks gives all checks, in the order of their names.
func Checks() []Check {
	checks := []Check{
		{"audit-mode", "A rule in mode: audit only records what it would deny, and allows it.", auditMode},
		{"condition-always-true", "A condition that no request can fail says nothing: a slip made it so, or it can go.", alwaysTrue},
		{"empty-match", "A text that the client may leave empty ({path...}, a header, a query parameter) is compared with one that is empty for some tokens, such as identity.subject of a machine's: empty equals empty.", emptyMatch},
		{"head-denied", "GET is for HEAD too, but a condition asks for the method GET: HEAD is denied where GET is not.", headDenied},
		{"head-weaker", "A rule for HEAD asks for less than the one for GET, so HEAD tells who may not GET what is there, and how large.", headWeaker},
		{"header-case", "Conditions see header names in lower case: another spelling is never there, and the condition denies.", headerCase},
		{"looser-spelling", "A rule for everything below a path asks for less than a rule for one path there, and other spellings of that path (/users/, /USERS, /users;x=1) meet it: for a service that ignores case, parameters or slashes they are the same.", looserSpelling},
		{"never-satisfied", "A condition that no request can meet: the rule always denies. If it is meant to, deny: true says so.", neverSatisfied},
		{"no-tests", "A file without tests: an edit that opens the policy goes unnoticed.", missingTests},
		{"options-not-public", "The policy answers browsers' preflight requests (OPTIONS, without a token) for some paths, but not for this one; or it asks them for a token that they never carry.", optionsNotPublic},
		{"owner-unused", "A path names whose data it is, as in /users/{id}, but the rule does not compare that with the identity, and scopes that let a user read let them read everybody's.", ownerUnused},
		{"public-catch-all", "A public rule for every path: what no rule matches is no longer denied.", publicCatchAll},
		{"public-shadow", "A public rule that is more general than a protected one also takes the requests right beside that, such as the same path with another method.", publicShadow},
		{"public-subtree", "A public pattern ends in a slash, and so opens everything below it: /docs/{$} is the path alone.", publicSubtree},
		{"scope-typo", "A scope that is written once only, and is a slip away from another one.", scopeTypo},
		{"single-any-scope", "any_scopes with one scope asks for that one: likely others are missing, or scopes was meant.", singleAnyScope},
		{"tests-only-allow", "All tests of a file expect allow: they would pass if the policy were open.", testsOnlyAllow},
		{"unreachable", "More specific rules take all requests of a pattern.", unreachable},
		{"write-with-read-scope", "Who may read may also write: the rule is for a method that writes, or for all methods, and asks for scopes that say read only.", writeWithReadScope},
	}
	return checks
}

// The findings about the comments themselves. They can't be silenced.
const (
	badIgnore    = "bad-ignore"
	unusedIgnore = "unused-ignore"
)

// ignoreChecks documents them.
func ignoreChecks() []Check {
	return []Check{
		{Name: badIgnore, Doc: "A lint:ignore comment without a reason, or with a name that no check has. It silences nothing."},
		{Name: unusedIgnore, Doc: "A lint:ignore comment that silences nothing: what it was about is gone."},
	}
}

// Documentation gives all names that findings can have, also those that no
// comment silences, with what they mean.
func Documentation() []Check {
	all := append(Checks(), ignoreChecks()...)
	slices.SortFunc(all, func(a, b Check) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// reporter takes a finding about a rule, or about a file as a whole (rule nil).
type reporter func(r *rule, pos strictyaml.Pos, name, reason, advice string)

// Load reads the policy files of paths, as policy.Load does, and lints them.
func Load(paths ...string) ([]Finding, error) {
	set, err := policy.Load(paths...)
	if err != nil {
		return nil, err
	}
	var files []policy.File
	seen := map[string]bool{}
	for _, rule := range set.Rules() { // each file has a rule
		name := rule.Pos.File
		if seen[name] {
			continue
		}
		seen[name] = true
		data, problems := strictyaml.ReadFile(name)
		if problems != nil {
			return nil, problems
		}
		files = append(files, policy.File{Name: name, Data: data})
	}
	return Lint(files...)
}

// Lint gives what is likely wrong in policy files that belong together, sorted
// by position. Its error is strictyaml.Problems: the files must load.
func Lint(files ...policy.File) ([]Finding, error) {
	set, err := policy.Parse(files...)
	if err != nil {
		return nil, err
	}
	var (
		documents []*document
		findings  []Finding
	)
	rules := set.Rules()
	for _, f := range files {
		d := newDocument(f, rules)
		rules = rules[len(d.rules):]
		documents = append(documents, d)
	}
	said := map[Finding]bool{}
	for _, g := range groups(set, documents) {
		report := func(r *rule, pos strictyaml.Pos, name, reason, advice string) {
			found := Finding{Pos: pos, Check: name, Reason: reason, Advice: advice}
			if !said[found] && !g.silenced(r, pos, name) {
				findings = append(findings, found)
			}
			said[found] = true
		}
		for _, c := range Checks() {
			c.run(g, report)
		}
	}
	for _, d := range documents {
		findings = append(findings, d.commentFindings()...)
	}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Check, b.Check))
	})
	return findings, nil
}

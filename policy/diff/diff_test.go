package diff

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"scopeward/policy"
)

// lines gives a report in short: kind, requests, and who.
func lines(r *Report) []string {
	var all []string
	for _, c := range r.Changes {
		line := c.Kind.String() + " " + strings.Join(c.Requests, " ")
		if c.Policy != "" {
			line += " in " + c.Policy
		}
		if c.EncodedSlash {
			line += " slash"
		}
		if c.EscapedUnreserved {
			line += " escaped"
		}
		if len(c.OpensFor) > 0 {
			line += " +[" + strings.Join(c.OpensFor, "; ") + "]"
		}
		if len(c.ClosesFor) > 0 {
			line += " -[" + strings.Join(c.ClosesFor, "; ") + "]"
		}
		if len(c.MayCloseFor) > 0 {
			line += " ?[" + strings.Join(c.MayCloseFor, "; ") + "]"
		}
		all = append(all, line)
	}
	for _, name := range r.Incomplete {
		all = append(all, "incomplete "+name)
	}
	return all
}

func rules(rules ...string) string {
	return "version: 1\nrules:\n  - " + strings.Join(rules, "\n  - ") + "\n"
}

func TestCompare(t *testing.T) {
	const anyone, token = "anyone, without a token", "any valid token"
	tests := []struct {
		name     string
		old, new string
		want     []string
	}{
		{"nothing", rules(`{match: /a, public: true}`), rules(`{match: /a, public: true}`), nil},
		{"order, names, comments and wildcard names",
			rules(`{match: "GET /u/{id}", scopes: [a, b]}`, `{match: /x, name: one, public: true}`),
			rules(`{match: [/x], name: two, public: true} # why`, `{match: "GET /u/{user}", scopes: [b, a]}`), nil},
		{"one of one is all of one", rules(`{match: /a, scopes: [r]}`), rules(`{match: /a, any_scopes: [r]}`), nil},
		{"one of those that are there", rules(`{match: /a, scopes: [r], any_scopes: [r, w]}`), rules(`{match: /a, scopes: [r]}`), nil},
		{"a rule that denies is no rule", rules(`{match: /a, deny: true}`, `{match: /b}`), rules(`{match: /b}`), nil},
		{"a rule that is a part of another", rules(`{match: /a/, scopes: [r]}`), rules(`{match: /a/, scopes: [r]}`, `{match: "GET /a/{id}", scopes: [r]}`), nil},

		{"a token has a scope or has it not",
			rules(`{match: /a, when: '"x" in identity.scopes && "y" in identity.scopes || "x" in identity.scopes && !("y" in identity.scopes)'}`),
			rules(`{match: /a, scopes: [x]}`), nil},
		{"the same the other way", rules(`{match: /a, scopes: [x]}`),
			rules(`{match: /a, when: '"x" in identity.scopes && "y" in identity.scopes || "x" in identity.scopes && !("y" in identity.scopes)'}`), nil},
		{"with it or without", rules(`{match: /a, when: '!("x" in identity.scopes) || "x" in identity.scopes'}`), rules(`{match: /a}`), nil},
		{"without it or with it", rules(`{match: /a}`), rules(`{match: /a, when: '!("x" in identity.scopes) || "x" in identity.scopes'}`), nil},
		{"only without it", rules(`{match: /a, when: '!("x" in identity.scopes)'}`), rules(`{match: /a}`), []string{"opens /a +[a token with scope x]"}},
		{"a condition that may be about the scopes", rules(`{match: /a, any_scopes: [x, y]}`), rules(`{match: /a, when: '["x", "y"].exists(s, s in identity.scopes)'}`),
			[]string{`may_differ /a +[any valid token, when ["x", "y"].exists(s, s in identity.scopes)] ?[a token with scope x; a token with scope y]`}},
		{"a condition that is about the method", rules(`{match: GET /a, scopes: [x]}`), rules(`{match: /a, scopes: [x], when: 'request.method == "GET"'}`),
			[]string{`may_differ /a +[a token with scope x, when request.method == "GET"]`, "closes GET /a -[a token with scope x]"}},

		{"token to public", rules(`{match: /a}`), rules(`{match: /a, public: true}`), []string{"opens /a +[" + anyone + "]"}},
		{"public to token", rules(`{match: /a, public: true}`), rules(`{match: /a}`), []string{"closes /a -[" + anyone + "]"}},
		{"no rule to public", rules(`{match: /b}`), rules(`{match: /b}`, `{match: /a, public: true}`), []string{"opens /a +[" + anyone + "]"}},
		{"public to no rule", rules(`{match: /b}`, `{match: /a, public: true}`), rules(`{match: /b}`), []string{"closes /a -[" + anyone + "]"}},
		{"deny to token", rules(`{match: /a, deny: true}`), rules(`{match: /a}`), []string{"opens /a +[" + token + "]"}},
		{"token to deny", rules(`{match: /a}`), rules(`{match: /a, deny: true}`), []string{"closes /a -[" + token + "]"}},
		{"deny to public", rules(`{match: /a, deny: true}`), rules(`{match: /a, public: true}`), []string{"opens /a +[" + anyone + "]"}},
		{"public to deny", rules(`{match: /a, public: true}`), rules(`{match: /a, deny: true}`), []string{"closes /a -[" + anyone + "]"}},

		{"a scope less", rules(`{match: /a, scopes: [r, w]}`), rules(`{match: /a, scopes: [r]}`), []string{"opens /a +[a token with scope r]"}},
		{"a scope more", rules(`{match: /a, scopes: [r]}`), rules(`{match: /a, scopes: [r, w]}`), []string{"closes /a -[a token with scope r]"}},
		{"another scope", rules(`{match: /a, scopes: [r]}`), rules(`{match: /a, scopes: [w]}`), []string{"changes /a +[a token with scope w] -[a token with scope r]"}},
		{"all to any", rules(`{match: /a, scopes: [r, w]}`), rules(`{match: /a, any_scopes: [r, w]}`), []string{"opens /a +[a token with scope r; a token with scope w]"}},
		{"one choice more", rules(`{match: /a, any_scopes: [r, w]}`), rules(`{match: /a, any_scopes: [r, w, x]}`), []string{"opens /a +[a token with scope x]"}},

		{"enforced to audit mode", rules(`{match: /a, scopes: [r]}`), rules(`{match: /a, scopes: [r], mode: audit}`), []string{"opens /a +[" + anyone + "]"}},
		{"audit mode to enforced", rules(`{match: /a, deny: true, mode: audit}`), rules(`{match: /a, deny: true}`), []string{"closes /a -[" + anyone + "]"}},
		{"audit mode is public", rules(`{match: /a, scopes: [r], mode: audit}`), rules(`{match: /a, public: true}`), nil},

		{"one method of all", rules(`{match: /a, scopes: [r]}`), rules(`{match: /a, scopes: [r]}`, `{match: DELETE /a}`), []string{"opens DELETE /a +[any valid token]"}},
		{"HEAD of GET", rules(`{match: GET /a, scopes: [r]}`), rules(`{match: GET /a, scopes: [r]}`, `{match: HEAD /a, public: true}`), []string{"opens HEAD /a +[" + anyone + "]"}},
		{"GET no longer for HEAD", rules(`{match: GET /a}`), rules(`{match: GET /a}`, `{match: HEAD /a, deny: true}`), []string{"closes HEAD /a -[any valid token]"}},
		{"a host of its own", rules(`{match: /a, scopes: [r]}`), rules(`{match: /a, scopes: [r]}`, `{match: admin.test/a, public: true}`), []string{"opens admin.test/a +[" + anyone + "]"}},
		{"a deny taken away below a general rule", rules(`{match: "/{x...}", public: true}`, `{match: /admin/, deny: true}`), rules(`{match: "/{x...}", public: true}`),
			[]string{"opens /{x...} +[" + anyone + "]", "opens /admin/ +[" + anyone + "]"}},
		{"the redirect to a slash", rules(`{match: "/{x...}", public: true}`, `{match: /admin/, public: true}`), rules(`{match: "/{x...}", public: true}`),
			[]string{"opens /{x...} +[" + anyone + "]"}},
		{"only what is deeper than every other pattern",
			rules(`{match: "/{$}"}`, `{match: "/{x}"}`, `{match: "/{x}/{$}"}`, `{match: "/{x}/{y}"}`, `{match: "/{x}/{y}/{$}"}`, `{match: "/{rest...}", deny: true}`),
			rules(`{match: "/{$}"}`, `{match: "/{x}"}`, `{match: "/{x}/{$}"}`, `{match: "/{x}/{y}"}`, `{match: "/{x}/{y}/{$}"}`, `{match: "/{rest...}", public: true}`),
			[]string{"opens /{rest...} +[" + anyone + "]"}},

		{"encoded slashes admitted", rules(`{match: "/f/{n}", scopes: [r]}`), "paths: {allow: [encoded_slash]}\n" + rules(`{match: "/f/{n}", scopes: [r]}`),
			[]string{"opens /f/{n} slash +[a token with scope r]"}},
		{"encoded slashes no longer admitted", "paths: {allow: [encoded_slash]}\n" + rules(`{match: "/f/{n}", scopes: [r]}`), rules(`{match: "/f/{n}", scopes: [r]}`),
			[]string{"closes /f/{n} slash -[a token with scope r]"}},
		{"escapes admitted", rules(`{match: "/f/{n}", scopes: [r]}`, `{match: /, deny: true}`), "paths: {allow: [escaped_unreserved]}\n" + rules(`{match: "/f/{n}", scopes: [r]}`, `{match: /, deny: true}`),
			[]string{"opens /f/{n} escaped +[a token with scope r]"}},
		{"escapes no longer admitted", "paths: {allow: [escaped_unreserved]}\n" + rules(`{match: "/f/{n}", scopes: [r]}`), rules(`{match: "/f/{n}", scopes: [r]}`),
			[]string{"closes /f/{n} escaped -[a token with scope r]"}},
		{"encoded slashes admitted where nothing lets in", rules(`{match: "/f/{n}", deny: true}`), "paths: {allow: [encoded_slash]}\n" + rules(`{match: "/f/{n}", deny: true}`), nil},

		{"a named policy appears", rules(`{match: /a}`), "name: x\n" + rules(`{match: /a}`), []string{"opens /a in x +[any valid token]", "closes /a -[any valid token]"}},
		{"a named policy disappears", "name: x\n" + rules(`{match: /a}`), "name: y\n" + rules(`{match: /a, deny: true}`), []string{"closes /a in x -[any valid token]"}},
		{"a named policy changes", "name: x\n" + rules(`{match: /a}`), "name: x\n" + rules(`{match: /a, public: true}`), []string{"opens /a in x +[" + anyone + "]"}},
		{"many rules, one line each pair", rules(`{match: [/a, /b, "GET /c"]}`), rules(`{match: [/a, /b, "GET /c"], public: true}`), []string{"opens /a /b GET /c +[" + anyone + "]"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			report := Compare(mustParse(t, test.old), mustParse(t, test.new), Options{})
			if diff := cmp.Diff(test.want, lines(report)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if same := Compare(mustParse(t, test.new), mustParse(t, test.new), Options{}); len(lines(same)) > 0 {
				t.Errorf("the new policy differs from itself: %v", lines(same))
			}
		})
	}
}

func TestConditions(t *testing.T) {
	const equal, opens, closes, changes, may = "", "opens", "closes", "changes", "may_differ"
	tests := []struct{ old, new, want string }{
		{`path.id == identity.subject`, `(identity.subject) == path.id`, equal},
		{`path.id == "a" && path.to == "b"`, `path.to == "b" && path.id == "a"`, equal},
		{`path.id == "a" || (path.to == "b" || path.id == "c")`, `(path.id == "c" || path.id == "a") || path.to == "b"`, equal},
		{`path.id != "a"`, `!(path.id == "a")`, equal},
		{`!!(path.id == "a")`, `"a" == path.id`, equal},
		{`!(path.id == "a" && path.to == "b")`, `path.to != "b" || path.id != "a"`, equal},
		{`path.id in ["a", "b"]`, `path.id in ["b", "a", "b"]`, equal},
		{`path.id in ["a", "b"]`, `path.id == "b" || path.id == "a"`, equal},
		{`path.id == "a" + "b"`, `path.id == "ab"`, equal},
		{`path.id == "a" && 1 < 2`, `path.id == "a"`, equal},
		{`identity.claims.n > 1`, `1 < identity.claims.n`, equal},
		{`identity.claims.org == "x"`, `identity.claims["org"] == "x"`, equal},
		{`path.id == "x" ? path.to == "y" : path.to == "z"`, `path.id == "x" ? "y" == path.to : "z" == path.to`, equal},
		{`identity.scopes.exists(s, s == path.id)`, `identity.scopes.exists(t, path.id == t)`, equal},
		{`"r" in identity.scopes && path.id == "a"`, `path.id == "a" && "r" in identity.scopes`, equal},

		{`path.id == "a"`, `path.id == "a" && path.to == "b"`, closes},
		{`path.id == "a" && path.to == "b"`, `path.id == "a"`, opens},
		{`path.id == "a"`, `path.id == "a" || path.to == "b"`, opens},
		{`path.id in ["a", "b"]`, `path.id in ["a", "b", "c"]`, opens},
		{`path.id in ["a", "b"]`, `path.id in ["a"]`, closes},
		{`path.id == "a"`, `1 == 1`, opens},
		{`path.id == "a"`, `1 == 2`, closes},
		{`1 == 2`, `2 == 3`, equal},
		{`path.id == "a" && "r" in identity.scopes`, `path.id == "a"`, opens},

		// A condition that fails denies: these are true for fewer than it seems.
		{`identity.claims.a == 1 || identity.claims.a != 1`, `1 == 1`, opens},
		{`!has(identity.claims.a) || identity.claims.a == 1`, `identity.claims.a == 1`, closes},

		// What no proof tells, an example may.
		{`path.id == "a"`, `path.id == "b"`, changes},
		{`path.id == "a"`, `path.id.startsWith("a")`, opens},
		{`path.id == "a"`, `path.to == "a"`, changes},
		{`path.id < "a"`, `path.id <= "a"`, opens},
		{`has(identity.claims.a)`, `has(identity.claims.b)`, changes},
		{`identity.scopes.exists(s, s == path.id)`, `identity.scopes.all(s, s == path.id)`, changes},
		{`identity.claims.a == 3`, `identity.claims.a > 3`, changes},
		{`size(path.id) == 3`, `size(path.id) < 3`, changes},
		{`path.id == "a" && identity.claims["https://x/y"].z == "b"`, `path.id == "a"`, opens},
		{`request.query["q"][0] == "a"`, `request.headers["h"] == "a"`, changes},
		{`path.id == "a" && path.id == "b"`, `path.id == "a" && path.id != "a"`, closes},
		{`path.id.matches("^[0-9]{7}$")`, `path.id.matches("^[0-9]{7,8}$") && path.id != "x"`, may},
		{`identity.scopes.exists(s, identity.scopes.exists(t, s == "x" && t != s))`, `identity.scopes.exists(s, identity.scopes.exists(t, t == "x" && t != s))`, may},
	}
	for _, test := range tests {
		t.Run(test.old+" to "+test.new, func(t *testing.T) {
			old := mustParse(t, rules(fmt.Sprintf("{match: '/{id}/{to}', when: %q}", test.old)))
			new := mustParse(t, rules(fmt.Sprintf("{match: '/{id}/{to}', when: %q}", test.new)))
			got := ""
			if report := Compare(old, new, Options{}); len(report.Changes) > 0 {
				got = report.Changes[0].Kind.String()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestCost: a condition that costs more than CEL may denies, and which does depends on
// the order of its operands.
func TestCost(t *testing.T) {
	const costly = `identity.scopes.all(s, identity.scopes.all(t, s != path.id + t))`
	const equal, closes, may = "", "closes", "may_differ"
	tests := []struct{ old, new, want string }{
		{costly + ` || path.id == "a"`, `path.id == "a" || ` + costly, may},
		{costly + ` && path.id == "a"`, `path.id == "a" && ` + costly, may},
		{`path.id == "a" || ` + costly, costly + ` || path.id == "a"`, may}, // it costs more, but CEL takes what is true
		{costly, costly, equal},
		{costly, costly + ` && path.id == "a"`, closes},
		{costly, costly + ` && path.id == "a" && path.to == "b"`, closes},
		{costly, `path.id == "a" && ` + costly, may},
		{`path.id == "a" && ` + costly, `path.id == "a"`, "opens"},
		{`identity.scopes.all(x, identity.scopes.all(y, x != path.id + y))`, costly, equal},
		{costly, `1 == 2`, closes},
		{`1 == 2`, costly, "opens"},
		{`path.id == "a" || path.to == "b" || "r" in identity.scopes`, `"r" in identity.scopes || path.to == "b" || path.id == "a"`, equal}, // never so much
	}
	for _, test := range tests {
		old := mustParse(t, rules(fmt.Sprintf("{match: '/{id}/{to}', when: %q}", test.old)))
		new := mustParse(t, rules(fmt.Sprintf("{match: '/{id}/{to}', when: %q}", test.new)))
		got := ""
		if report := Compare(old, new, Options{}); len(report.Changes) > 0 {
			got = report.Changes[0].Kind.String()
		}
		if got != test.want {
			t.Errorf("%s to %s: got %q, want %q", test.old, test.new, got, test.want)
		}
	}
	// It does differ: the old policy denies this token, and the new one lets it in.
	old := mustParse(t, rules(fmt.Sprintf("{match: '/{id}', when: %q}", tests[0].old)))
	new := mustParse(t, rules(fmt.Sprintf("{match: '/{id}', when: %q}", tests[0].new)))
	id := &policy.Identity{}
	for i := range 1000 {
		id.Scopes = append(id.Scopes, fmt.Sprint(i))
	}
	r, err := policy.NewRequest("GET", "", "/a")
	if err != nil {
		t.Fatal(err)
	}
	was, wasErr := old.Match("", &r)
	is, isErr := new.Match("", &r)
	if wasErr != nil || isErr != nil || passes(was, caller{identity: id}) || !passes(is, caller{identity: id}) {
		t.Errorf("was %v, is %v", was.Decide(id), is.Decide(id))
	}
}

// TestPathVariables: variables go by their places, not by their names.
func TestPathVariables(t *testing.T) {
	rule := func(pattern, when string) *policy.Set {
		return mustParse(t, rules(fmt.Sprintf("{match: %s, when: %q}", pattern, when)))
	}
	tests := []struct {
		name     string
		old, new *policy.Set
		want     string
	}{
		{"renamed", rule("'/{id}/{x}'", "path.id == identity.subject"), rule("'/{user}/{x}'", "path.user == identity.subject"), ""},
		{"swapped", rule("'/{id}/{x}'", "path.id == identity.subject"), rule("'/{x}/{id}'", "path.id == identity.subject"), "changes"},
		{"swapped, from the root of names", rule("'/{id}/{x}'", ".path.id == identity.subject"), rule("'/{x}/{id}'", ".path.id == identity.subject"), "changes"},
		{"in a macro", rule("'/{id}/{x}'", "identity.scopes.exists(s, s == path.id)"), rule("'/{x}/{id}'", "identity.scopes.exists(s, s == path.id)"), "changes"},
		{"hidden by a macro's variable", rule("'/{id}/{x}'", `[identity.subject].exists(id, id == "a")`), rule("'/{x}/{id}'", `[identity.subject].exists(x, x == "a")`), ""},
		{"the rest is not a segment", rule("'/a/{id}'", "path.id == identity.subject"), rule("'/a/{id...}'", "path.id == identity.subject"), "opens may_differ"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, c := range Compare(test.old, test.new, Options{}).Changes {
				got = append(got, c.Kind.String())
			}
			if got := strings.Join(got, " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestLargeConditions: bounded work, and still sound.
func TestLargeConditions(t *testing.T) {
	var terms []string
	for i := range 300 {
		terms = append(terms, fmt.Sprintf(`(path.id == "%d" || path.to == "%d")`, i, i))
	}
	nested := `path.id == "a"`
	for range 60 {
		nested = `(` + nested + `) == (path.to == "b" || path.id != "c")`
	}
	for name, when := range map[string]string{
		"and of or": strings.Join(terms, " && "),
		"equality":  nested,
		"constants": `path.id == "` + strings.Repeat(`a" + "`, 100) + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			set := func(when string) *policy.Set {
				return mustParse(t, rules(fmt.Sprintf("{match: '/{id}/{to}', when: %q}", when)))
			}
			start := time.Now()
			if got := lines(Compare(set(when), set(when+" "), Options{})); len(got) > 0 {
				t.Errorf("same: got %v", got)
			}
			if report := Compare(set(`path.id == "z" && `+when), set(when), Options{}); !report.Opens() {
				t.Error("the opening was missed")
			}
			if spent := time.Since(start); spent > 20*time.Second {
				t.Errorf("took %v", spent)
			}
		})
	}
}

// TestFolders: files can be named by requests, so where both policies are
// folders their names count.
func TestFolders(t *testing.T) {
	set := func(files ...policy.File) *policy.Set {
		s, err := policy.Parse(files...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b := []byte(rules(`{match: /a, public: true}`)), []byte(rules(`{match: /b, public: true}`))
	old := set(policy.File{Name: "a.yaml", Data: a}, policy.File{Name: "b.yaml", Data: b})
	new := set(policy.File{Name: "a.yaml", Data: b}, policy.File{Name: "b.yaml", Data: a})
	if got := lines(Compare(old, new, Options{})); len(got) > 0 {
		t.Errorf("without names: %v", got)
	}
	want := []string{
		"opens /b in a +[anyone, without a token]", "opens /a in b +[anyone, without a token]",
		"closes /a in a -[anyone, without a token]", "closes /b in b -[anyone, without a token]",
	}
	if diff := cmp.Diff(want, lines(Compare(old, new, Options{FileNames: true}))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// A change of the default policy is told once.
	public := set(policy.File{Name: "a.yaml", Data: a})
	token := set(policy.File{Name: "a.yaml", Data: []byte(rules(`{match: /a}`))})
	if diff := cmp.Diff([]string{"opens /a +[anyone, without a token]"}, lines(Compare(token, public, Options{FileNames: true}))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestLargePolicies: thousands of rules are compared at once, also where they overlap
// with general ones; where all overlap with all, the work is bounded and counts as
// opening.
func TestLargePolicies(t *testing.T) {
	const n = 2000 // if each were compared with each, minutes
	var plain, first, second []string
	for i := range n {
		plain = append(plain, fmt.Sprintf("{match: 'GET /api/{tenant}/r%d/{id}', scopes: [s%d]}", i, i))
		first = append(first, fmt.Sprintf("{match: '/x%d/{b}', scopes: [s%d]}", i, i))
		second = append(second, fmt.Sprintf("{match: '/{a}/y%d', scopes: [s%d]}", i, i))
	}
	general := append(plain[:n-1:n-1], "{match: '/{rest...}', scopes: [general]}")
	compare := func(a, b []string, options Options) []string {
		old, new := mustParse(t, rules(a...)), mustParse(t, rules(b...))
		start := time.Now()
		got := lines(Compare(old, new, options))
		if spent := time.Since(start); spent > 30*time.Second {
			t.Errorf("took %v", spent)
		} else {
			t.Logf("took %v", spent)
		}
		return got
	}
	if got := compare(plain, plain, Options{}); len(got) > 0 {
		t.Errorf("same: got %.300q", got)
	}
	if got := compare(plain, general, Options{}); len(got) != 2 {
		t.Errorf("one rule for another: got %d changes: %.300q", len(got), got)
	}
	// Each pair of these rules is a change of its own, but for those with the same
	// scope; and what is left of each rule.
	if got := compare(first[:100], second[:100], Options{}); len(got) != 100*100-100+100+100 {
		t.Errorf("10,000 overlaps: got %d changes", len(got))
	}
	if got := compare(first[:400], second[:400], Options{work: maxWork / 10}); got[len(got)-1] != "incomplete " {
		t.Errorf("160,000 overlaps: got %d changes", len(got))
	}
}

// TestTooMuchWork: what could not be looked at counts as opening.
func TestTooMuchWork(t *testing.T) {
	set := mustParse(t, rules("{match: [/a, /b, /c, /d]}"))
	report := Compare(set, set, Options{work: 10})
	if !report.Opens() || len(report.Incomplete) != 1 || len(report.Changes) > 0 {
		t.Errorf("got %v", lines(report))
	}
	for _, print := range []func(io.Writer) error{report.Text, report.Markdown, report.JSON} {
		var out strings.Builder
		if err := print(&out); err != nil || !strings.Contains(out.String(), "compared") && !strings.Contains(out.String(), `"opens": true`) {
			t.Errorf("got %v:\n%s", err, &out)
		}
	}
}

package diff

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"scopeward/policy"
	"scopeward/policy/pattern"
)

const (
	// maxWork bounds a comparison of two policies, in steps of some microseconds.
	// Policies of 10,000 rules take some 100,000 steps; the worst that such files
	// can do is 100 million, if each rule of the one overlaps with each of the other.
	maxWork = 2_000_000

	// pairWork is what a pair of rules costs, besides the requests that find it.
	pairWork = 20
)

// explorer makes the requests that stand for all requests that two policies can
// tell apart.
//
// # Why nothing is missed
//
// A policy finds, among the patterns that match a request, the first in an order
// that the patterns alone give: a host before one with a wildcard before none, then
// HEAD before GET before no method, then segment by segment literal before wildcard
// before the rest. (Of the patterns with one kind of host that match a request, the
// first is a part of all others: else it is no policy.) So what a policy answers to a
// request ρ is given by the set M(ρ) of patterns that match it; and, where the first of
// M(ρ) goes on beyond its segments, by M(ρ/): if a pattern matches ρ/ exactly, ρ needs
// the slash, and no rule applies.
//
// Name as the witness of a policy for ρ: the first pattern of M(ρ); or, if
// ρ needs the slash, the pattern d that matches ρ/ exactly, without its end; or
// nothing, if no pattern matches. Witnesses are what sources gives. Let r be the
// path with as many segments as ρ and the same end, which has the literals of
// both policies' witnesses at their places and everywhere else a segment that
// no pattern names; with the common method and host of the witnesses, or ones
// that no pattern names, and a label that none names for a wildcard in the host. Then r gets the answers of ρ, from both policies:
//
//   - r is a request of both witnesses.
//   - Every pattern that matches r matches ρ as well: at a segment that no pattern
//     names it has a wildcard, elsewhere ρ has the same literal as r. So M(r) is
//     part of M(ρ), and M(r/) of M(ρ/).
//   - A witness that is the first of M(ρ) is in M(r) and so its first. r does not
//     need the slash if ρ does not: a pattern e that matches r/ exactly
//     matches ρ/ exactly; were it the first of M(r/) and not that of M(ρ/), the
//     first there would have a nearer host and go on, so it would match ρ too, and the
//     witness, first in M(ρ), would have that host as well and be before e in M(r/).
//   - If ρ needs the slash for d, d is the first of M(r/) likewise, and the first
//     of M(ρ), which goes on, matches ρ/ after d, with d's host or a wider one: it is
//     more general than d or has the wider host. In both cases no
//     pattern matches r exactly before it that would not match ρ so.
//   - If nothing matches ρ, nothing matches r.
//
// So it is enough to try, for each pair of witnesses with a request in common,
// and for each witness alone, one path of each length. If a witness ends, that
// is one length. If both go on, those longer than every pattern that could still
// match (one that has only wildcards after the witnesses' segments) are all alike.
//
// An escaped slash in a segment is like a segment that no pattern names, and
// admitted or not by the patterns found. If the policies differ in that for several
// segments, they differ for one of them: it is tried at each segment for which
// a witness has a wildcard, the others being refused.
type explorer struct {
	old, new *policy.Set
	name     string // of the policy
	method   string // that no pattern names
	host     string // likewise
	label    string // likewise: the first of a host
	segment  string // likewise
	reach    []int  // by the number of segments up to the last literal: the longest such source
	slashes  bool   // try escaped slashes
	escapes  bool   // try an escape of a character that needs none
	asks     bool   // try preflight requests
	admitted bool   // an escaped slash was admitted
	work     budget
	unknown  bool // a request could not be made
	found    map[pair]*meeting
}

// pair is what the two policies find for the same request; nil for no rule.
type pair struct {
	old, new  *policy.Pattern
	preflight bool // it is a preflight request

	passesOld, passesNew bool // by preflight: public
}

// meeting is a pair with an example.
type meeting struct {
	old, new policy.Match
	example  example
}

type example struct {
	method, host, target string
	preflight            string // the method that a preflight request asks for
	form                 form
}

// form is what the target has that policy files admit by paths.allow.
type form uint8

const (
	asItIs form = iota
	withSlash
	withEscape
)

func (e example) request() (policy.Request, error) {
	r, err := policy.NewRequest(e.method, e.host, e.target)
	r.Preflight = e.preflight
	return r, err
}

// less prefers plain examples, and short ones.
func (e example) less(other example) bool {
	if e.form != other.form {
		return e.form < other.form
	}
	a, b := e.method+" "+e.host+e.target, other.method+" "+other.host+other.target
	return len(a) < len(b) || len(a) == len(b) && a < b
}

// explore finds all pairs of rules that requests to the policy called name can
// meet. complete is false if that would have been too much work.
func explore(old, new *policy.Set, name string, work int) (x *explorer, complete bool) {
	olds, news := sources(old.Patterns(name)), sources(new.Patterns(name))
	asks := old.LetsPreflightsPass() || new.LetsPreflightsPass()
	if asks {
		olds, news = withPreflights(olds), withPreflights(news)
	}
	all := slices.Concat(olds, news)
	x = &explorer{
		old: old, new: new, name: name, slashes: true, escapes: old.AdmitsEscapedUnreserved() || new.AdmitsEscapedUnreserved(),
		asks: asks, work: budget{left: work}, found: map[pair]*meeting{},
	}
	x.choose(all)
	everything := &pattern.Pattern{End: pattern.More}
	for _, s := range all {
		x.try(s, everything)
	}
	// A pattern that any request meets has been met now. If none admitted an
	// escaped slash, none will.
	x.slashes = x.admitted
	tree := pattern.Tree[struct{}]{}
	for _, s := range news {
		tree.Add(s, struct{}{}) // others for the same requests would find the same
	}
	for _, s := range olds {
		tree.Overlapping(s, func() bool { return x.work.spend(1) }, func(other *pattern.Leaf[struct{}]) { x.try(s, other.Pattern) })
	}
	return x, !x.work.spent && !x.unknown
}

// sources gives what the patterns of a policy can tell apart. A pattern for /tree/ also
// keeps more general ones from /tree, where no rule applies then: such paths are a source
// of their own.
func sources(patterns []*policy.Pattern) []*pattern.Pattern {
	var all []*pattern.Pattern
	for _, p := range patterns {
		all = append(all, &p.Pattern)
		if p.End != pattern.Exactly && len(p.Segments) > 0 {
			all = append(all, &pattern.Pattern{Method: p.Method, Host: p.Host, Segments: p.Segments})
		}
	}
	return all
}

// withPreflights adds, for each source of OPTIONS, the requests to the same paths by all
// methods: a preflight request is of OPTIONS, and of the method that it asks for.
func withPreflights(all []*pattern.Pattern) []*pattern.Pattern {
	for _, s := range all {
		if s.Method == http.MethodOptions {
			all = append(all, &pattern.Pattern{Host: s.Host, Segments: s.Segments, End: s.End})
		}
	}
	return all
}

// choose finds names that no source names, and how far wildcards reach.
func (x *explorer) choose(all []*pattern.Pattern) {
	methods, hosts, labels, segments := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	longest := 0
	for _, s := range all {
		methods[s.Method], hosts[pattern.HostKey(s.Host)] = true, true
		label, _ := pattern.Label(s.Host)
		labels[label] = true
		for _, segment := range s.Segments {
			segments[segment.Literal] = true
		}
		longest = max(longest, len(s.Segments))
	}
	named := func(names map[string]bool) func(string) bool { return func(name string) bool { return names[name] } }
	// HEAD is no such method if GET is named, and CONNECT is special to servers.
	x.method = unnamed(named(methods), "GET", "POST", "PUT", "PATCH", "DELETE", "PURGE")
	x.host = unnamed(func(host string) bool {
		_, domain := pattern.Label(host)
		return hosts[host] || hosts["{}"+domain]
	}, "api.example.com", "other.example.com", "other.example.org")
	x.label = unnamed(named(labels), "acme", "other")
	x.segment = unnamed(named(segments), "x", "y", "any", "other")
	x.reach = make([]int, longest+1)
	for _, s := range all {
		from := s.WildFrom()
		x.reach[from] = max(x.reach[from], len(s.Segments))
	}
	for i := 1; i < len(x.reach); i++ {
		x.reach[i] = max(x.reach[i], x.reach[i-1])
	}
}

// unnamed gives a choice that is not taken, if need be with x after it.
func unnamed(taken func(string) bool, choices ...string) string {
	for _, choice := range choices {
		if !taken(choice) {
			return choice
		}
	}
	name := choices[0]
	for taken(name) {
		name += "X"
	}
	return name
}

// try asks both policies about the requests that a and b have in common.
func (x *explorer) try(a, b *pattern.Pattern) {
	both, ok := a.Meet(b)
	if !ok {
		return
	}
	e := example{method: cmp.Or(both.Method, x.method), host: cmp.Or(both.Host, x.host)}
	if _, domain := pattern.SplitHost(both.Host); domain != "" {
		e.host = x.label + domain
	}
	shortest := len(both.Segments)
	longest := shortest
	if both.End == pattern.More {
		longest = x.reach[shortest] + 1
	}
	for n := shortest; n <= longest; n++ {
		for _, trailing := range []bool{false, true} {
			if both.Has(n, trailing) {
				x.path(e, both, n, trailing)
			}
		}
	}
}

// path tries the path with n segments that stands for all such paths of a pattern, and
// the same with an escaped slash.
func (x *explorer) path(e example, both pattern.Pattern, n int, trailing bool) {
	segments := make([]string, n, n+1)
	var wild []int
	for i := range segments {
		segments[i] = x.segment
		switch {
		case i >= len(both.Segments):
		case both.Segments[i].Literal != "":
			segments[i] = url.PathEscape(both.Segments[i].Literal)
		default:
			wild = append(wild, i)
		}
	}
	if trailing {
		segments = append(segments, "")
	}
	e.target = "/" + strings.Join(segments, "/")
	x.request(e)
	if x.escapes && e.target != "/" {
		escaped := e
		escaped.form, escaped.target = withEscape, escapeFirst(e.target)
		x.request(escaped)
	}
	if !x.slashes {
		return
	}
	for _, i := range wild {
		segments[i] = x.segment + "%2F" + x.segment
		e.form, e.target = withSlash, "/"+strings.Join(segments, "/")
		x.request(e)
		segments[i] = x.segment
	}
}

// escapeFirst escapes the first letter or digit of a path that is none of an escape.
func escapeFirst(path string) string {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '%':
			i += 2
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9':
			return fmt.Sprintf("%s%%%02X%s", path[:i], c, path[i+1:])
		}
	}
	return path
}

// request asks both policies, and where preflight requests may pass, about the one for the
// request, too.
func (x *explorer) request(e example) {
	x.ask(e)
	if !x.asks || slices.Contains([]string{http.MethodConnect, http.MethodTrace}, e.method) {
		return
	}
	e.preflight = e.method
	if e.method == http.MethodOptions {
		e.preflight = x.method
	}
	e.method = http.MethodOptions
	x.ask(e)
}

func (x *explorer) ask(e example) {
	if !x.work.spend(1) {
		return
	}
	r, err := e.request()
	if err != nil {
		x.unknown = true // no pattern that was loaded gives such a path
		return
	}
	r.Time = asked
	// A path that is refused meets no rule, as far as access goes.
	old, _ := x.old.Match(x.name, &r)
	new, _ := x.new.Match(x.name, &r)
	p := pair{old.Pattern(), new.Pattern(), e.preflight != "", old.ForPreflight(), new.ForPreflight()}
	if p.old == nil && p.new == nil {
		return
	}
	x.admitted = x.admitted || e.form == withSlash
	switch known := x.found[p]; {
	case known == nil && !x.work.spend(pairWork):
	case known == nil || e.less(known.example):
		x.found[p] = &meeting{old, new, e}
	}
}

// names gives the policies that a comparison is about, the default one first:
// those with a `name:` key, and those by the names of files, if they count.
func names(old, new *policy.Set, files bool) []string {
	all := map[string]bool{"": true}
	for _, set := range []*policy.Set{old, new} {
		unnamed := map[*policy.Pattern]bool{}
		for _, p := range set.Patterns("") {
			unnamed[p] = true
		}
		for _, name := range set.Names() {
			ofFile := !slices.ContainsFunc(set.Patterns(name), func(p *policy.Pattern) bool { return !unnamed[p] })
			all[name] = all[name] || files || !ofFile
		}
	}
	maps.DeleteFunc(all, func(_ string, counts bool) bool { return !counts })
	return slices.Sorted(maps.Keys(all))
}

// budget bounds the work of a comparison.
type budget struct {
	left  int
	spent bool // more was wanted than there was
}

func (b *budget) spend(steps int) bool {
	if b.left < steps {
		b.left, b.spent = 0, true
		return false
	}
	b.left -= steps
	return true
}

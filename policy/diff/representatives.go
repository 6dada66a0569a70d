package diff

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"scopeward/policy"
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
// ServeMux finds, among the patterns that match a request, the first in an order
// that the patterns alone give: host before no host, then HEAD before GET before
// no method, then segment by segment literal before wildcard before the rest.
// (Patterns for which specificity and this order would differ are conflicts, and
// no policy.) So what a policy answers to a request ρ is given by the set M(ρ) of
// patterns that match it; and, where the first of M(ρ) goes on beyond its
// segments, by M(ρ/), as ServeMux redirects to ρ/ if a pattern matches that
// exactly. In that case no rule applies.
//
// Name as the witness of a policy for ρ: the first pattern of M(ρ); or, if
// ServeMux redirects, the pattern d that matches ρ/ exactly, without its end; or
// nothing, if no pattern matches. Witnesses are what sources gives. Let r be the
// path with as many segments as ρ and the same end, which has the literals of
// both policies' witnesses at their places and everywhere else a segment that
// no pattern names; with the common method and host of the witnesses, or ones
// that no pattern names. Then r gets the answers of ρ, from both policies:
//
//   - r is a request of both witnesses.
//   - Every pattern that matches r matches ρ as well: at a segment that no pattern
//     names it has a wildcard, elsewhere ρ has the same literal as r. So M(r) is
//     part of M(ρ), and M(r/) of M(ρ/).
//   - A witness that is the first of M(ρ) is in M(r) and so its first. Nothing
//     redirects r that does not redirect ρ: a pattern e that matches r/ exactly
//     matches ρ/ exactly; were it the first of M(r/) and not that of M(ρ/), the
//     first there would have a host and go on, so it would match ρ too, and the
//     witness, first in M(ρ), would have that host as well and be before e in M(r/).
//   - If ServeMux redirects ρ for d, d is the first of M(r/) likewise, and the first
//     of M(ρ), which goes on, matches ρ/ after d, with d's host or none: it is
//     more general than d or has no host where d has one. In both cases no
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
	segment  string // likewise
	reach    []int  // by the number of segments up to the last literal: the longest such source
	slashes  bool   // try escaped slashes
	escapes  bool   // try an escape of a character that needs none
	admitted bool   // an escaped slash was admitted
	work     budget
	unknown  bool // a request could not be made
	found    map[pair]*meeting
}

// pair is what the two policies find for the same request; nil for no rule.
type pair struct{ old, new *policy.Pattern }

// meeting is a pair with an example.
type meeting struct {
	old, new policy.Match
	example  example
}

type example struct {
	method, host, target string
	form                 form
}

// form is what the target has that policy files admit by paths.allow.
type form uint8

const (
	asItIs form = iota
	withSlash
	withEscape
)

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
	all := slices.Concat(olds, news)
	x = &explorer{
		old: old, new: new, name: name, slashes: true, escapes: old.AdmitsEscapedUnreserved() || new.AdmitsEscapedUnreserved(),
		work: budget{left: work}, found: map[pair]*meeting{},
	}
	x.choose(all)
	everything := &source{end: more}
	for _, s := range all {
		x.try(s, everything)
	}
	// A pattern that any request meets has been met now. If none admitted an
	// escaped slash, none will.
	x.slashes = x.admitted
	index := newIndex(news)
	for _, s := range olds {
		index.overlapping(s, &x.work, func(other *source) { x.try(s, other) })
	}
	return x, !x.work.spent && !x.unknown
}

// choose finds names that no source names, and how far wildcards reach.
func (x *explorer) choose(all []*source) {
	methods, hosts, segments := map[string]bool{}, map[string]bool{}, map[string]bool{}
	longest := 0
	for _, s := range all {
		methods[s.method], hosts[s.host] = true, true
		for _, segment := range s.segments {
			segments[segment] = true
		}
		longest = max(longest, len(s.segments))
	}
	// HEAD is no such method if GET is named, and CONNECT is special to servers.
	x.method = unnamed(methods, "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE")
	x.host = unnamed(hosts, "api.example.com", "other.example.com")
	x.segment = unnamed(segments, "x", "y", "any", "other")
	x.reach = make([]int, longest+1)
	for _, s := range all {
		from := s.wildFrom()
		x.reach[from] = max(x.reach[from], len(s.segments))
	}
	for i := 1; i < len(x.reach); i++ {
		x.reach[i] = max(x.reach[i], x.reach[i-1])
	}
}

// unnamed gives a choice that is not taken, if need be with X after it.
func unnamed(taken map[string]bool, choices ...string) string {
	for _, choice := range choices {
		if !taken[choice] {
			return choice
		}
	}
	name := choices[0]
	for taken[name] {
		name += "X"
	}
	return name
}

// try asks both policies about the requests that a and b have in common.
func (x *explorer) try(a, b *source) {
	method, ok := commonMethod(a.method, b.method)
	if !ok || a.host != "" && b.host != "" && a.host != b.host {
		return
	}
	e := example{method: method, host: a.host + b.host}
	if a.host == b.host {
		e.host = a.host
	}
	if e.method == "" {
		e.method = x.method
	}
	if e.host == "" {
		e.host = x.host
	}
	shortest := max(len(a.segments), len(b.segments))
	longest := shortest
	if a.end == more && b.end == more {
		longest = x.reach[shortest] + 1
	}
	for n := shortest; n <= longest; n++ {
		for _, trailing := range []bool{false, true} {
			if a.has(n, trailing) && b.has(n, trailing) {
				x.path(e, a, b, n, trailing)
			}
		}
	}
}

// path tries the path with n segments that stands for all such paths of a and b,
// and the same with an escaped slash.
func (x *explorer) path(e example, a, b *source, n int, trailing bool) {
	segments := make([]string, n, n+1)
	var wild []int
	for i := range segments {
		segments[i] = x.segment
		inA, inB := i < len(a.segments), i < len(b.segments)
		switch {
		case inA && a.segments[i] != "":
			segments[i] = url.PathEscape(a.segments[i])
		case inB && b.segments[i] != "":
			segments[i] = url.PathEscape(b.segments[i])
		case inA || inB:
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

// request asks both policies.
func (x *explorer) request(e example) {
	if !x.work.spend(1) {
		return
	}
	r, err := policy.NewRequest(e.method, e.host, e.target)
	if err != nil {
		x.unknown = true // no pattern that was loaded gives such a path
		return
	}
	// A path that is refused meets no rule, as far as access goes.
	old, _ := x.old.Match(x.name, &r)
	new, _ := x.new.Match(x.name, &r)
	p := pair{old.Pattern(), new.Pattern()}
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

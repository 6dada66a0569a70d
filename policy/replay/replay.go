// Package replay decides recorded requests by two policies, and tells which of
// them would be decided otherwise.
//
// Logs hold no tokens. What a log knows of a caller decides how far it can be
// said what would happen:
//
//   - Scopeward's audit log, and Envoy's with Scopeward's dynamic metadata, know
//     the subject and the scopes of a valid token, or that there was none. The
//     request is decided by Match and Decide. A condition that asks for more
//     than the log knows (claims, headers) may hold or not.
//   - Other logs do not know who asked. What the rules ask for is compared.
package replay

import (
	"cmp"
	"context"
	"io"
	"slices"

	"scopeward/internal/logline"
	"scopeward/policy"
)

// Change is how a decision differs. What can't be told counts as opening.
type Change string

const (
	Same     Change = ""
	Opens    Change = "opens"     // was denied, would be allowed
	MayOpen  Change = "may_open"  // could be allowed where it was not
	Closes   Change = "closes"    // was allowed, would be denied
	MayClose Change = "may_close" // could be denied where it was not
	Differs  Change = "differs"   // denied both times, with another answer
)

// order is how changes are reported: what opens first.
var order = []Change{Opens, MayOpen, Closes, MayClose, Differs}

// Answer is what a policy says about a request.
type Answer struct {
	// Outcome is allow, or why not (missing_token, invalid_token,
	// invalid_request, insufficient_scope, insufficient_user_authentication,
	// access_denied, invalid_path);
	// condition if it depends on what the log does not know; for unknown
	// callers public, denied, or token and what it must have.
	Outcome string
	Rule    string // its name or pattern; empty if there is none
	Pos     string // file:line:column of the rule
}

// Group are requests whose decision changes in the same way.
type Group struct {
	Change   Change
	Old, New Answer
	Count    int
	Example  Example // the first of them
}

// Example is a request of the log, without its query.
type Example struct {
	Line                 int // counts from 1
	Method, Host, Target string
}

// Junk is a line that could not be read.
type Junk struct {
	Line   int
	Reason string
	Text   string // its beginning, printable and without tokens
}

// Report is what came of a log.
type Report struct {
	Lines, Same, Unreadable int
	Groups                  []Group // what opens first, then by count
	Junk                    []Junk  // the first few of the unreadable lines
}

// Read reports whether any line could be read: else nothing is known of what changes.
func (r *Report) Read() bool { return r.Lines > r.Unreadable }

// Opens reports whether anything would or may open.
func (r *Report) Opens() bool {
	return slices.ContainsFunc(r.Groups, func(g Group) bool { return g.Change == Opens || g.Change == MayOpen })
}

// maxJunk is how many unreadable lines are shown.
const maxJunk = 5

// Options say how a log is replayed.
type Options struct {
	Name     string                       // of the policy, "" for the default one
	Progress func(lines int, bytes int64) // called now and then; bytes are of the log as it is stored
}

// Run reads a log, which may be compressed with gzip, and decides each request
// by both policies. It keeps one line and one group for each kind of change in
// memory. An error is one of reading, or of ctx.
func Run(ctx context.Context, from io.Reader, before, after *policy.Set, options Options) (*Report, error) {
	lines, err := newLines(from)
	if err != nil {
		return nil, err
	}
	r := &run{
		report: &Report{}, groups: map[groupKey]*Group{},
		before: &side{set: before, name: options.Name},
		after:  &side{set: after, name: options.Name},
	}
	var log logline.Unwrapper
	for {
		line, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil && err != errLong {
			return nil, err
		}
		if content, complete := log.Unwrap(line); complete {
			r.line(content, err)
		}
		if r.report.Lines%4096 == 0 {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if options.Progress != nil {
				options.Progress(r.report.Lines, lines.bytes())
			}
		}
	}
	for _, line := range log.Rest() {
		r.line(line, nil)
	}
	r.finish()
	return r.report, nil
}

type run struct {
	report        *Report
	groups        map[groupKey]*Group
	before, after *side
	parser        parser
}

// groupKey tells groups apart: by pointers, as it is made for each line.
type groupKey struct {
	change   Change
	old, new string // outcomes
	rules    [2]*policy.Rule
	actions  [2]string
}

func (r *run) line(line []byte, err error) {
	if len(line) == 0 && err == nil {
		return // an empty line is nothing
	}
	r.report.Lines++
	var e entry
	if err == nil {
		e, err = r.parser.parse(line)
	}
	if err != nil {
		r.report.Unreadable++
		if len(r.report.Junk) < maxJunk {
			r.report.Junk = append(r.report.Junk, Junk{Line: r.report.Lines, Reason: err.Error(), Text: excerpt(line)})
		}
		return
	}
	old, next := r.before.decide(&e), r.after.decide(&e)
	change := compare(old, next)
	if change == Same {
		r.report.Same++
		return
	}
	key := groupKey{
		change, old.outcome, next.outcome,
		[2]*policy.Rule{old.match.Rule(), next.match.Rule()}, [2]string{old.match.Action(), next.match.Action()},
	}
	g := r.groups[key]
	if g == nil {
		g = &Group{Change: change, Old: old.answer(), New: next.answer(), Example: e.example(r.report.Lines)}
		r.groups[key] = g
	}
	g.Count++
}

// finish sorts the groups.
func (r *run) finish() {
	for _, g := range r.groups {
		r.report.Groups = append(r.report.Groups, *g)
	}
	slices.SortFunc(r.report.Groups, func(a, b Group) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.Change), slices.Index(order, b.Change)),
			cmp.Compare(b.Count, a.Count), cmp.Compare(a.Example.Line, b.Example.Line))
	})
}

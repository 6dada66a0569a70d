package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
	"scopeward/policy/replay"
)

func newPolicyReplay() *cobra.Command {
	var before, after, files []string
	var name, output string
	cmd := &cobra.Command{
		Use:   "replay --old FILE --new FILE ACCESS_LOG",
		Short: "Tell which recorded requests would be decided otherwise",
		Long: `replay decides the requests of a log by an old and a new policy, and counts those whose
decision changes, in groups with an example. It reads Scopeward's audit log, Envoy's access log
in JSON (with the usual names of fields: method, x-envoy-original-path, path, authority, and
Scopeward's dynamic metadata, whole or field by field) and in its default text format, and the
default formats of Istio and Envoy Gateway; also compressed with gzip; - reads standard input.
What docker compose logs, kubectl logs, container runtimes (CRI, Docker) and Fluent Bit put
around lines is taken off. Lines may be of different kinds. A log of any length is read in
bounded memory.

Logs hold no tokens. The audit log, and Envoy's with the dynamic metadata, know subject and
scopes, so requests are decided as the server would. Conditions may ask for more than a log
knows (claims, headers): the outcome is then "condition". Where a log does not know who asked,
what the rules ask for is compared: public, denied, or token with what it needs.

  opens      was denied, would be allowed
  may_open   could be allowed where it was not; all that can't be told counts so
  closes     was allowed, would be denied
  may_close  could be denied where it was not
  differs    denied by both, with another answer

Lines that can't be read are counted and the first are shown, without what looks like a token.

With --output json: {opens, lines, same, unreadable, groups: [{change, count, old: {outcome,
rule, position}, new: {outcome, rule, position}, example: {line, method, host, path}}],
junk: [{line, reason, text}]}.

The exit status is 1 if anything opens or may open, or if a file can't be read at all; else 0,
also with lines that can't be read; 2 for wrong usage, and for a log of which no line could be
read.`,
		Example: `  scopeward policy replay --old policy.yaml --new new.yaml audit.log.gz
  kubectl logs deploy/scopeward | scopeward policy replay --old policy.yaml --new new.yaml -`,
		Args: oneArgument("an access log"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			after = append(after, files...)
			if len(before) == 0 || len(after) == 0 {
				return &usageError{errors.New("there are not two policies to compare: give --old policy.yaml --new new.yaml")}
			}
			old, next, err := loadBoth(before, after)
			if err != nil {
				return err
			}
			report, err := replayLog(cmd, args[0], old, next, name)
			if err != nil {
				return err
			}
			if err := printReplay(cmd.OutOrStdout(), report, output); err != nil {
				return err
			}
			switch {
			case !report.Read():
				return &usageError{nothingRead(args[0], report)}
			case report.Opens():
				return errReported
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&before, "old", nil, "a `file` or directory of the old policy (repeatable)")
	cmd.Flags().StringArrayVar(&after, "new", nil, "a `file` or directory of the new policy (repeatable)")
	policyFlag(cmd, &files, "a policy `file` or directory: the same as --new (repeatable)")
	cmd.Flags().StringVar(&name, "name", "", "the `name` of the policy to ask, instead of the default one")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// nothingRead says that a log has told nothing, with a line that could not be read.
func nothingRead(name string, r *replay.Report) error {
	if len(r.Junk) == 0 {
		return fmt.Errorf("%s has no line: nothing is known of what would change", name)
	}
	j := r.Junk[0]
	return fmt.Errorf("%s: no line could be read, so nothing is known of what would change; line %d is %s: %s", name, j.Line, j.Reason, j.Text)
}

// loadBoth reports the mistakes of both policies together.
func loadBoth(before, after []string) (old, next *policy.Set, err error) {
	old, err = policy.Load(before...)
	next, err2 := policy.Load(after...)
	var problems, more strictyaml.Problems
	if errors.As(err, &problems) && errors.As(err2, &more) {
		return nil, nil, append(problems, more...).Err()
	}
	if err == nil {
		err = err2
	}
	return old, next, err
}

func replayLog(cmd *cobra.Command, name string, old, next *policy.Set, policyName string) (*replay.Report, error) {
	log, size := cmd.InOrStdin(), int64(0)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, strictyaml.Unreadable(name, err).Err()
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
		log = f
	}
	options := replay.Options{Name: policyName}
	if _, ok := terminal(cmd.ErrOrStderr()); ok {
		bar := &progressBar{out: cmd.ErrOrStderr(), size: size, start: time.Now()}
		options.Progress = bar.show
		defer bar.clear()
	}
	report, err := replay.Run(cmd.Context(), log, old, next, options)
	if err != nil {
		return nil, fmt.Errorf("%s: the log can't be read: %w", name, err)
	}
	return report, nil
}

// progressBar shows how far a log has been read, in one line.
type progressBar struct {
	out         io.Writer
	size        int64 // of the log; 0: not known
	start, last time.Time
}

const (
	progressEvery = 200 * time.Millisecond
	progressWidth = 30
	clearLine     = "\r\x1b[K"
)

func (b *progressBar) show(lines int, bytes int64) {
	now := time.Now()
	if now.Sub(b.last) < progressEvery {
		return
	}
	b.last = now
	speed := float64(lines) / now.Sub(b.start).Seconds()
	if b.size == 0 {
		fmt.Fprintf(b.out, "%s%d lines, %.0f per second", clearLine, lines, speed)
		return
	}
	done := min(int(bytes*progressWidth/b.size), progressWidth)
	fmt.Fprintf(b.out, "%s[%s%s] %3d%% %d lines, %.0f per second", clearLine,
		strings.Repeat("=", done), strings.Repeat(" ", progressWidth-done), min(bytes*100/b.size, 100), lines, speed)
}

func (b *progressBar) clear() {
	if !b.last.IsZero() {
		fmt.Fprint(b.out, clearLine)
	}
}

type replayAnswer struct {
	Outcome string `json:"outcome"`
	Rule    string `json:"rule,omitempty"`
	Pos     string `json:"position,omitempty"`
}

type replayExample struct {
	Line   int    `json:"line"`
	Method string `json:"method"`
	Host   string `json:"host"`
	Target string `json:"path"`
}

type replayGroup struct {
	Change  replay.Change `json:"change"`
	Count   int           `json:"count"`
	Old     replayAnswer  `json:"old"`
	New     replayAnswer  `json:"new"`
	Example replayExample `json:"example"`
}

type replayJunk struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
	Text   string `json:"text"`
}

func printReplay(w io.Writer, r *replay.Report, output string) error {
	if output != "json" {
		return printReplayText(forPeople(w), r)
	}
	groups, junk := []replayGroup{}, []replayJunk{}
	for _, g := range r.Groups {
		groups = append(groups, replayGroup{g.Change, g.Count, replayAnswer(g.Old), replayAnswer(g.New), replayExample(g.Example)})
	}
	for _, j := range r.Junk {
		junk = append(junk, replayJunk(j))
	}
	return printJSON(w, struct {
		Opens      bool          `json:"opens"`
		Lines      int           `json:"lines"`
		Same       int           `json:"same"`
		Unreadable int           `json:"unreadable"`
		Groups     []replayGroup `json:"groups"`
		Junk       []replayJunk  `json:"junk"`
	}{r.Opens(), r.Lines, r.Same, r.Unreadable, groups, junk})
}

func printReplayText(w io.Writer, r *replay.Report) error {
	for _, g := range r.Groups {
		fmt.Fprintf(w, "%s: %s: %s -> %s\n", strings.ReplaceAll(string(g.Change), "_", " "), count(g.Count, "request"), inReplay(g.Old), inReplay(g.New))
		fmt.Fprintf(w, "    for example %s %s%s (line %d)\n", g.Example.Method, g.Example.Host, g.Example.Target, g.Example.Line)
	}
	for _, j := range r.Junk {
		fmt.Fprintf(w, "line %d can't be read: %s: %s\n", j.Line, j.Reason, j.Text)
	}
	changed := r.Lines - r.Same - r.Unreadable
	_, err := fmt.Fprintf(w, "%s: %d decided alike, %d otherwise, %d not readable.\n", count(r.Lines, "line"), r.Same, changed, r.Unreadable)
	return err
}

// inReplay is an answer in words, with its rule.
func inReplay(a replay.Answer) string {
	if a.Pos == "" {
		return a.Outcome + " (no rule)"
	}
	return fmt.Sprintf("%s (%s at %s)", a.Outcome, a.Rule, a.Pos)
}

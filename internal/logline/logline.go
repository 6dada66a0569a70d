// Package logline takes lines of logs out of what container runtimes, log collectors and
// the commands that show logs put around them.
package logline

import (
	"bytes"
	"regexp"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxLayers = 5        // around a line
	maxJoined = 1 << 20  // of a line that came in parts, in bytes
	maxPrefix = 512      // that stands before a line
	dockerCut = 16 << 10 // where Docker cuts long lines
)

// Unwrapper takes lines out of a log, one after the other: runtimes cut long lines, whose
// parts it joins. The zero value is ready for use, by one goroutine.
type Unwrapper struct {
	parts map[string][]byte // by stream
}

// prefixes stand before a line: of docker compose logs (with its colours), of kubectl logs
// --prefix, and the time of kubectl logs --timestamps and others.
var prefixes = []*regexp.Regexp{
	regexp.MustCompile(`^(?:\x1b\[[0-9;]*m)*[A-Za-z0-9][A-Za-z0-9_.-]* *(?:\x1b\[[0-9;]*m)*\|(?:\x1b\[[0-9;]*m)* ?(?:\x1b\[[0-9;]*m)*`),
	regexp.MustCompile(`^\[[a-z]+/[A-Za-z0-9_./-]+\] `),
	regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2}) `),
}

// cri is what the Container Runtime Interface has before a line, after its time.
var cri = regexp.MustCompile(`^(stdout|stderr) ([FP])(?::\S*)? `)

// Unwrap returns what a program wrote, given a line of a log; a line with nothing around
// it as it is. complete is false if the line is a part, of which more follows. What it
// returns is valid until the line changes.
func (u *Unwrapper) Unwrap(line []byte) (content []byte, complete bool) {
	stream, partial := "", false
	content = line
	for range maxLayers {
		inner, layer := peel(content)
		if inner == nil {
			break
		}
		content = inner
		if layer.stream != "" {
			stream, partial = layer.stream, layer.partial
		}
	}
	before := u.parts[stream]
	if len(before) == 0 && !partial {
		return content, true
	}
	joined := append(before, content...)
	if partial && len(joined) <= maxJoined {
		if u.parts == nil {
			u.parts = map[string][]byte{}
		}
		u.parts[stream] = joined
		return nil, false
	}
	delete(u.parts, stream)
	return joined, true
}

// Rest returns the parts of lines whose end never came.
func (u *Unwrapper) Rest() [][]byte {
	var rest [][]byte
	for _, stream := range []string{"stdout", "stderr"} {
		if part := u.parts[stream]; len(part) > 0 {
			rest = append(rest, part)
		}
	}
	u.parts = nil
	return rest
}

// layer is what a runtime says of a line.
type layer struct {
	stream  string
	partial bool
}

// peel takes one layer off a line. It returns nil if there is none.
func peel(line []byte) ([]byte, layer) {
	if bytes.HasPrefix(line, []byte("{")) {
		return object(line)
	}
	start := line[:min(len(line), maxPrefix)]
	if found := cri.FindSubmatch(start); found != nil {
		return line[len(found[0]):], layer{string(found[1]), found[2][0] == 'P'}
	}
	for _, prefix := range prefixes {
		if found := prefix.Find(start); found != nil {
			return line[len(found):], layer{}
		}
	}
	return nil, layer{}
}

// wrapped is a line in JSON: of Docker's json-file, or a record of Fluent Bit or Fluentd.
type wrapped struct {
	Processed jsontext.Value            `json:"log_processed"`
	Log       jsontext.Value            `json:"log"`
	Message   jsontext.Value            `json:"message"`
	Stream    string                    `json:"stream"`
	Tag       string                    `json:"logtag"`
	Time      jsontext.Value            `json:"time"`
	Others    map[string]jsontext.Value `json:",embed"`
}

// own are fields of audit events and of Envoy's access logs, one of which each has.
var own = []string{"action", "method", ":method", "request_method", "http_method", "requestMethod"}

func object(line []byte) ([]byte, layer) {
	found := false
	for _, key := range []string{`"log_processed"`, `"log"`, `"message"`} {
		found = found || bytes.Contains(line, []byte(key))
	}
	var w wrapped
	if !found || json.Unmarshal(line, &w) != nil {
		return nil, layer{}
	}
	for _, name := range own {
		if w.Others[name] != nil {
			return nil, layer{} // what a program wrote, with a field of such a name
		}
	}
	is := layer{w.Stream, w.Tag == "P"}
	if w.Processed.Kind() == '{' {
		return w.Processed, is
	}
	for _, value := range []jsontext.Value{w.Log, w.Message} {
		var text string
		switch value.Kind() {
		case '{':
			return value, is
		case '"':
			if json.Unmarshal(value, &text) != nil {
				continue
			}
			if !is.partial && len(w.Others) == 0 && w.Time != nil && w.Stream != "" { // Docker's
				is.partial = len(text) >= dockerCut && text[len(text)-1] != '\n'
			}
			return bytes.TrimRight([]byte(text), "\r\n"), is
		}
	}
	return nil, layer{}
}

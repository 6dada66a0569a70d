// Package corpus holds the cases that say what Scopeward answers: a policy,
// tokens, requests and the answers to them. Each case is run twice, in process
// and through a real Envoy, in every validation mode.
//
// A case is a txtar file: case.yaml (see [Case]), policy files, perhaps API keys
// (keys.yaml), and pairs of request and answer. A request is HTTP/1.1 as it goes over the wire, in which
// ${NAME} stands for a token of case.yaml; an answer is [Answer] in YAML.
package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/textproto"
	"path"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"scopeward/internal/strictyaml"
	"scopeward/internal/testenv/tokentest"
)

// Modes are the ways to validate a token.
var Modes = []string{"jwks", "profile", "jwks+profile", "introspection", "jwks+introspection", "lookup"}

// Case is a txtar file.
type Case struct {
	// Modes and Runs limit where the case is run; Why must say why.
	Modes  []string          `yaml:"modes"`
	Runs   []string          `yaml:"runs" enum:"process|envoy"`
	Why    string            `yaml:"why"`
	Config map[string]any    `yaml:"config"` // keys of scopeward.yaml that differ; $IDP is the provider's URL
	Alg    string            `yaml:"alg"`    // by which the provider signs; default RS256
	Tokens map[string]Token  `yaml:"tokens"`
	Proofs map[string]Proof  `yaml:"proofs"` // of the client's key, by names as those of tokens
	Faults map[string]string `yaml:"faults"` // of the provider, by path, from the start
	Policy string            `yaml:"policy"` // context_extensions: policy

	Name  string
	Steps []Step
	files []txtar.File
}

// Step is a request and its answer.
type Step struct {
	Name    string // file:number
	request string
	Answer  Answer
}

// Answer is what a client and the upstream see. Headers that tell the client
// what to do (WWW-Authenticate, Retry-After, RateLimit-*) are absent unless
// they stand here; the value * stands for any.
type Answer struct {
	Status  int               `yaml:"status,required"`
	Headers map[string]string `yaml:"headers"`
	Body    map[string]any    `yaml:"body"` // the value * stands for any; message is error by default
	Text    *string           `yaml:"text"` // the body, if it is one that the configuration writes
	// Direct is an answer of Scopeward's own, which is no denial.
	Direct bool `yaml:"direct"`
	// Upstream are headers that the upstream sees, and :path; the empty value is none, and * is any.
	Upstream map[string]string `yaml:"upstream"`
	Metadata map[string]any    `yaml:"metadata"` // process only
	Audit    map[string]any    `yaml:"audit"`    // members of the audit event
}

// Load reads the cases of a folder.
func Load(t testing.TB, dir fs.FS) []*Case {
	t.Helper()
	names, err := fs.Glob(dir, "*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	var cases []*Case
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := parse(name, data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		cases = append(cases, c)
	}
	return cases
}

// besides are the files of a case, other than policies, that its configuration may name.
func besides() []string { return []string{"shadow.yaml", "keys.yaml", "revoked.yaml", "page.html"} }

func parse(name string, data []byte) (*Case, error) {
	c := &Case{Name: strings.TrimSuffix(path.Base(name), ".txtar"), Modes: Modes, Runs: []string{"process", "envoy"}}
	var request *txtar.File
	for _, f := range txtar.Parse(data).Files {
		switch {
		case f.Name == "case.yaml":
			if problems := strictyaml.Decode("case.yaml", f.Data, c); len(problems) > 0 {
				return nil, problems
			}
		case strings.HasPrefix(f.Name, "policy"), slices.Contains(besides(), f.Name):
			c.files = append(c.files, f)
		case f.Name == "request":
			request = &f
		case f.Name == "answer" && request != nil:
			step := Step{Name: fmt.Sprintf("%s:%d", c.Name, len(c.Steps)+1), request: string(request.Data)}
			if problems := strictyaml.Decode(step.Name, f.Data, &step.Answer); len(problems) > 0 {
				return nil, problems
			}
			if _, written := step.Answer.Body["message"]; step.Answer.Body != nil && !written && !step.Answer.Direct {
				step.Answer.Body["message"] = step.Answer.Body["error"]
			}
			c.Steps = append(c.Steps, step)
			request = nil
		default:
			return nil, fmt.Errorf("file %q is neither case.yaml, a policy, a request nor an answer", f.Name)
		}
	}
	if len(c.Steps) == 0 || request != nil {
		return nil, errors.New("a request and an answer come in pairs")
	}
	if (len(c.Modes) < len(Modes) || len(c.Runs) < 2) && c.Why == "" {
		return nil, errors.New("the case is not run everywhere, and case.yaml does not say why")
	}
	return c, nil
}

// Wire is the request as it goes over the wire, with its tokens.
func (c *Case) Wire(t testing.TB, s Step, tokens map[string]string) []byte {
	t.Helper()
	text := s.request
	for name, token := range tokens {
		text = strings.ReplaceAll(text, "${"+name+"}", token)
	}
	if strings.Contains(text, "${") {
		t.Fatalf("%s: a token is missing in: %s", s.Name, text)
	}
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimRight(head, "\n"), "\n")
	for i, line := range lines {
		lines[i] = unescape(line)
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\nConnection: close\r\n\r\n" + body)
}

// unescape lets a case write bytes that an editor can't: \x00.
func unescape(line string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(line, `\x`)
		b.WriteString(before)
		if !found || len(after) < 2 {
			return b.String()
		}
		var c byte
		if _, err := fmt.Sscanf(after[:2], "%02x", &c); err != nil {
			return b.String() + `\x` + after
		}
		b.WriteByte(c)
		line = after[2:]
	}
}

// Request is a request as Envoy reads it: method, path and headers.
type Request struct {
	Method, Target, Host string
	Headers              map[string]string
}

// Read parses a request from the wire, joining headers of one name by a comma
// as Envoy does.
func Read(t testing.TB, wire []byte) Request {
	t.Helper()
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(wire)))
	line, err := r.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	method, rest, _ := strings.Cut(line, " ")
	target, _, ok := cutLast(rest, " ")
	if !ok {
		t.Fatalf("%q is no request line", line)
	}
	request := Request{Method: method, Target: target, Headers: map[string]string{}}
	for {
		line, err := r.ReadLine()
		if err != nil || line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		name, value = strings.ToLower(name), strings.Trim(value, " \t")
		switch before, seen := request.Headers[name]; {
		case name == "host":
			request.Host = value
		case seen:
			request.Headers[name] = before + "," + value
		default:
			request.Headers[name] = value
		}
	}
	return request
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// Mint mints the tokens of the case at a provider.
func (c *Case) Mint(t testing.TB, idp *tokentest.Provider) map[string]string {
	t.Helper()
	if c.Alg != "" {
		idp.RotateTo(c.Alg)
	}
	tokens, client, stranger := map[string]string{}, tokentest.NewHolder(t, "ES256"), tokentest.NewHolder(t, "ES256")
	for name, spec := range c.Tokens {
		if spec.Bound {
			claims := map[string]any{"cnf": client.Confirmation()}
			maps.Copy(claims, spec.Claims)
			spec.Claims = claims
		}
		tokens[name] = spec.mint(t, idp)
	}
	for name, spec := range c.Proofs {
		by := client
		if spec.Stranger {
			by = stranger
		}
		tokens[name] = by.Proof(spec.Method, spec.URL, tokens[spec.Token], dated(spec.Claims), spec.Header)
	}
	return tokens
}

// Outcome is what came of a request, seen from both ends.
type Outcome struct {
	Status   int
	Headers  http.Header
	Body     []byte
	Upstream http.Header // nil if the request did not get there
}

package replay

import (
	"bytes"
	"errors"
	"net/netip"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"

	"scopeward/policy"
)

// knowledge is what a log knows of the caller. The zero value is nothing.
type knowledge uint8

const (
	unknown  knowledge = iota
	nobody             // no valid token
	somebody           // a valid token, with the entry's identity
)

// entry is a request of a log.
type entry struct {
	request  policy.Request
	refused  error // why the request is none that a policy could match
	caller   knowledge
	identity policy.Identity
	code     string // for nobody: the answer, if the log knows it
	hasQuery bool
	hasIP    bool

	method, host, target string
}

func (e *entry) example(line int) Example {
	path, _, _ := strings.Cut(e.target, "?")
	return Example{
		Line: line, Method: shorten(printable(e.method), 32), Host: shorten(printable(e.host), 253),
		Target: shorten(printable(secret.ReplaceAllString(strings.ToValidUTF8(path, "?"), "[hidden]")), 200),
	}
}

// parser reads the lines of a log. Each line is taken for what it is, so that
// logs may be mixed.
type parser struct{}

var (
	errNoFormat  = errors.New("neither JSON nor Envoy's default format")
	errJSON      = errors.New("not JSON, or a field of another type")
	errNoRequest = errors.New("no method or no path in it")
)

func (parser) parse(line []byte) (entry, error) {
	line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")))
	switch {
	case len(line) == 0:
		return entry{}, errNoFormat
	case line[0] == '{':
		return parseJSON(line)
	case line[0] == '[':
		return parseText(string(line))
	default:
		return entry{}, errNoFormat
	}
}

// record has the fields of Scopeward's audit log, and those that people use in
// Envoy's JSON logs.
type record struct {
	Action  *string `json:"action"`
	Success *bool   `json:"success"`
	UserID  string  `json:"userId"`

	Method  text `json:"method"`
	Method2 text `json:":method"`
	Method3 text `json:"request_method"`
	Method4 text `json:"http_method"`
	Method5 text `json:"requestMethod"`

	Original  text `json:"x-envoy-original-path"`
	Original2 text `json:"x_envoy_original_path"`
	Original3 text `json:"original_path"`
	Original4 text `json:"x-envoy-origin-path"` // of Envoy Gateway
	Path      text `json:"path"`
	Path2     text `json:":path"`
	Path3     text `json:"request_path"`
	Path4     text `json:"uri"`
	Path5     text `json:"request_uri"`
	PathOnly  text `json:"uri_path"` // without the query

	Host  text `json:"host"`
	Host2 text `json:"authority"`
	Host3 text `json:":authority"`
	Host4 text `json:"request_authority"`
	Host5 text `json:"http_host"`

	ClientIP  text `json:"clientIp"`
	ClientIP2 text `json:"client_ip"`
	ClientIP3 text `json:"downstream_remote_address"`

	metadata `json:",inline"`
	ExtAuthz *metadata `json:"ext_authz"`
	Filter   *metadata `json:"envoy.filters.http.ext_authz"`
	Own      *metadata `json:"scopeward"`
	Dynamic  *struct {
		metadata `json:",inline"`
		Filter   *metadata `json:"envoy.filters.http.ext_authz"`
	} `json:"dynamic_metadata"`
	Metadata *struct {
		metadata `json:",inline"`
		Filter   *metadata `json:"envoy.filters.http.ext_authz"`
	} `json:"metadata"`
}

// metadata are the fields of Scopeward's dynamic metadata.
type metadata struct {
	Code     text   `json:"code"`
	Subject  text   `json:"subject"`
	Scopes   scopes `json:"scopes"`
	Provider text   `json:"provider"`
}

// text is a string, and nothing else: null, "-" and other types are as absent.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	}
	if s != "-" {
		*t = text(s)
	}
	return nil
}

// scopes are a list, a string with spaces, or a list within a string. known
// tells an empty list from none.
type scopes struct {
	list  []string
	known bool
}

func (s *scopes) UnmarshalJSON(b []byte) error {
	switch {
	case len(b) > 0 && b[0] == '[':
		s.known = true
		return json.Unmarshal(b, &s.list)
	case len(b) > 0 && b[0] == '"':
		var in string
		if err := json.Unmarshal(b, &in); err != nil {
			return err
		}
		if strings.HasPrefix(in, "[") {
			return s.UnmarshalJSON([]byte(in))
		}
		if in != "-" {
			s.list, s.known = strings.Fields(in), true
		}
	}
	return nil
}

func first(options ...text) string {
	for _, o := range options {
		if o != "" {
			return string(o)
		}
	}
	return ""
}

func parseJSON(line []byte) (entry, error) {
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		return entry{}, errJSON
	}
	if r.Action != nil && r.Success != nil {
		return r.audit()
	}
	return r.envoy()
}

// audit reads an event of Scopeward. Its path is decoded, and has no query.
func (r *record) audit() (entry, error) {
	e := entry{code: string(r.Code), hasIP: r.ClientIP != ""}
	target := string(r.Path)
	if e.code != "invalid_path" {
		target = escape(target)
	}
	switch e.code {
	case "missing_token", "invalid_token", "invalid_request", "invalid_dpop_proof", "use_dpop_nonce", "cross_site": // of all that asks for a token
		e.caller = nobody
	case "allow", "insufficient_scope", "insufficient_user_authentication", "access_denied":
		if r.Provider != "" { // else the token was not looked at
			e.caller = somebody
			e.identity = policy.Identity{Subject: r.UserID, Scopes: r.Scopes.list, Provider: string(r.Provider)}
		}
	}
	return e.ask(string(r.Method), string(r.Host), target, string(r.ClientIP))
}

// escape undoes the decoding of a canonical path.
func escape(path string) string {
	plain := func(r rune) bool { return r > ' ' && r < 0x7f && r != '%' && r != '?' && r != '#' && r != '\\' }
	if !strings.ContainsFunc(path, func(r rune) bool { return !plain(r) }) {
		return path
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		parts := strings.Split(segment, "%2F") // the only escape that stays
		for j, part := range parts {
			parts[j] = url.PathEscape(part)
		}
		segments[i] = strings.Join(parts, "%2F")
	}
	return strings.Join(segments, "/")
}

func (r *record) envoy() (entry, error) {
	target := first(r.Original, r.Original2, r.Original3, r.Original4, r.Path, r.Path2, r.Path3, r.Path4, r.Path5)
	e := entry{hasQuery: target != "" || strings.Contains(string(r.PathOnly), "?")}
	m := r.metadata
	for _, nested := range []*metadata{r.ExtAuthz, r.Filter, r.Own} {
		m = m.or(nested)
	}
	if r.Dynamic != nil {
		m = m.or(&r.Dynamic.metadata).or(r.Dynamic.Filter)
	}
	if r.Metadata != nil {
		m = m.or(&r.Metadata.metadata).or(r.Metadata.Filter)
	}
	switch m.Code {
	case "missing_token", "invalid_token", "invalid_request", "invalid_dpop_proof", "use_dpop_nonce":
		e.caller, e.code = nobody, string(m.Code)
	default:
		if m.Scopes.known {
			e.caller = somebody
			e.identity = policy.Identity{Subject: string(m.Subject), Scopes: m.Scopes.list, Provider: string(m.Provider)}
		}
	}
	ip := first(r.ClientIP2, r.ClientIP3, r.ClientIP)
	if addr, err := netip.ParseAddrPort(ip); err == nil {
		ip = addr.Addr().Unmap().String()
	}
	e.hasIP = ip != ""
	return e.ask(
		first(r.Method, r.Method2, r.Method3, r.Method4, r.Method5),
		first(r.Host2, r.Host3, r.Host4, r.Host, r.Host5),
		first(text(target), r.PathOnly), ip)
}

// or gives the metadata, or the others where it has none.
func (m metadata) or(other *metadata) metadata {
	if other == nil || m.Scopes.known || m.Subject != "" {
		return m
	}
	return *other
}

// ask makes the request.
func (e *entry) ask(method, host, target, ip string) (entry, error) {
	if method == "" || target == "" {
		return entry{}, errNoRequest
	}
	e.method, e.host, e.target = method, host, target
	e.request, e.refused = policy.NewRequest(method, host, target)
	e.request.ClientIP = ip
	return *e, nil
}

// parseText reads Envoy's default format:
//
//	[START_TIME] "METHOD PATH PROTOCOL" CODE FLAGS ... "AUTHORITY" "UPSTREAM_HOST"
//
// (https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage).
// What a client sends stands there unescaped, so the parts are found from the
// outside. Istio's format has more after the upstream host, without quotes.
func parseText(line string) (entry, error) {
	_, rest, ok := strings.Cut(line, `] "`)
	if !ok {
		return entry{}, errNoFormat
	}
	method, rest, ok := strings.Cut(rest, " ")
	if !ok || method == "-" || method == "" {
		return entry{}, errNoRequest
	}
	end := -1
	for _, protocol := range []string{` HTTP/1.1" `, ` HTTP/2" `, ` HTTP/3" `, ` HTTP/1.0" `, ` -" `} {
		if at := strings.Index(rest, protocol); at >= 0 && (end < 0 || at < end) {
			end = at
		}
	}
	if end < 0 {
		return entry{}, errNoFormat
	}
	target, rest := rest[:end], rest[end:]
	if target == "-" {
		return entry{}, errNoRequest
	}
	e := entry{hasQuery: true}
	return e.ask(method, authority(rest), target, "")
}

// authority gives the last quoted part but one.
func authority(rest string) string {
	last := strings.LastIndex(rest, `"`)
	if last < 0 {
		return ""
	}
	before := strings.LastIndex(rest[:last], `" "`)
	if before < 0 {
		return ""
	}
	host := rest[:before]
	host = host[strings.LastIndex(host, `"`)+1:]
	if host == "-" {
		return ""
	}
	return host
}

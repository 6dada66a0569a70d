package inspect

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"scopeward/authz"
	"scopeward/authz/answer"
	"scopeward/authz/token"
	"scopeward/internal/config"
	"scopeward/policy"
	"scopeward/policy/explain"
)

// Response is what the client gets, by the server's own table.
func Response(q explain.Question, out explain.Outcome, c *config.Config) *explain.Response {
	var err error
	decision := out.Decision
	switch out.Code {
	case explain.InvalidPath:
		err = out.Err
	case explain.MissingToken:
		err = &token.MissingError{Reason: out.Reason}
	case explain.InvalidToken:
		err = &token.InvalidError{Reason: out.Reason}
	case explain.Allow: // also if only as the rule is not enforced
		decision = policy.Decision{Code: policy.Allowed}
	}
	return respond(c, q, out.Match, decision, err)
}

// respond is what the client gets under this configuration.
func respond(c *config.Config, q explain.Question, match policy.Match, d policy.Decision, err error) *explain.Response {
	asked := authz.Asked{Method: q.Method, Host: q.Host, Path: q.Target, Headers: q.Headers}
	a := c.Snapshot(nil).Answer(asked, match, d, err)
	response := &explain.Response{Status: a.Status, Challenge: a.Header("www-authenticate"), Location: a.Header("location"), Body: a.Body}
	if kind := a.Header("content-type"); kind != answer.JSON {
		response.ContentType = kind
	}
	if a.Status == http.StatusOK && q.Identity != nil && match.Access() == policy.AccessToken {
		response.IdentityToken = c.IdentityToken.Header
	}
	return response
}

// Question is what a person says of a request.
type Question struct {
	Policy                  string   // the policy that the request names
	Scopes, Claims, Headers []string // of a valid token: scopes, name=value; of the request: name=value
	Token                   string   // whose claims are read without verification; - for standard input
	ClientIP                string
	Peer                    policy.Peer
	Body                    string // the name of a file
}

// Read is the question to the policy, and the credential that the request itself has. What
// is said of a token counts in its place.
func (o Question) Read(method, target string, stdin io.Reader, c *config.Config) (q explain.Question, p Presented, notes []string, err error) {
	if q, err = o.Request(method, target); err != nil {
		return q, p, nil, err
	}
	p = Present(&q, c)
	switch {
	case o.Token == "" && (len(o.Scopes) > 0 || len(o.Claims) > 0):
		return q, p, nil, o.WithClaims(&q)
	case o.Token == "":
		o.Token = p.Raw
	}
	if o.Token == "" {
		return q, p, nil, nil
	}
	claims, err := readClaims(o.Claims)
	if err == nil {
		q, notes, err = o.withToken(q, claims, stdin)
	}
	return q, p, notes, err
}

// Request is the question without a token.
func (o Question) Request(method, target string) (q explain.Question, err error) {
	q = explain.Question{Policy: o.Policy, Method: method, ClientIP: o.ClientIP, Token: policy.TokenNone}
	var ok bool
	if q.Host, q.Target, ok = policy.SplitURL(target); !ok {
		return q, errors.New("that is neither a path nor an http(s) URL: write GET /users, or GET https://api.example.com/users")
	}
	q.Peer = o.Peer
	if o.Body != "" {
		body, err := os.ReadFile(o.Body)
		if err != nil {
			return q, fmt.Errorf("--body can't be read: %w", err)
		}
		q.Body = string(body)
	}
	q.Headers, err = readHeaders(o.Headers)
	return q, err
}

// WithClaims gives the question a valid token with the scopes and claims.
func (o Question) WithClaims(q *explain.Question) error {
	claims, err := readClaims(o.Claims)
	if err != nil {
		return err
	}
	q.Token = policy.TokenValid
	q.Identity, err = policy.NewIdentity(ScopeList(o.Scopes), claims)
	return err
}

// withToken reads the claims of a token without verification. What is given besides
// it counts instead of its own.
func (o Question) withToken(q explain.Question, claims map[string]any, stdin io.Reader) (explain.Question, []string, error) {
	raw := o.Token
	if raw == "-" {
		line, err := bufio.NewReader(io.LimitReader(stdin, 2*token.MaxLength)).ReadString('\n')
		if err != nil && err != io.EOF {
			return q, nil, fmt.Errorf("the token cannot be read from standard input: %w", err)
		}
		raw = strings.TrimSpace(line)
	}
	raw = strings.TrimPrefix(raw, "Bearer ")
	if _, _, err := token.FromAuthorization("Bearer "+raw, token.MaxLength); err != nil {
		return q, nil, fmt.Errorf("--token has no bearer token: %w", err)
	}
	t := token.Parse(raw)
	if t.Opaque() {
		q.Token = policy.TokenValid
		var err error
		q.Identity, err = policy.NewIdentity(ScopeList(o.Scopes), claims)
		return q, []string{"the token is not a JWT and has no claims to read: it is taken to be valid, with what --scope and --claim say; only its provider can tell more"}, err
	}
	notes := []string{"the token's claims are read WITHOUT VERIFICATION: neither its signature nor its issuer and audience are checked, and it is taken to be valid where nothing below says otherwise"}
	jwt, err := t.JWT()
	if err == nil {
		issuer := jwt.Claims.Text("iss")
		if issuer == "" {
			issuer = "any" // it is missing, which the rules will say
		}
		_, err = token.Rules{Issuer: issuer, AnyAudience: true}.For(jwt).Identity(jwt.Claims)
	}
	if err != nil {
		q.Token, q.TokenFault = policy.TokenInvalid, err.Error()
		if invalid := (*token.InvalidError)(nil); errors.As(err, &invalid) {
			q.TokenFault = invalid.Reason
		}
		return q, notes, nil
	}
	own := jwt.Claims.Map()
	maps.Copy(own, claims)
	q.Token = policy.TokenValid
	q.Identity, err = policy.NewIdentity(ScopeList(o.Scopes), own)
	return q, notes, err
}

// ScopeList gives the scopes of the flags, nil if there is none.
func ScopeList(flags []string) []string {
	var scopes []string
	for _, f := range flags {
		scopes = append(scopes, strings.Fields(f)...)
	}
	return scopes
}

func readHeaders(flags []string) (map[string]string, error) {
	headers := map[string]string{}
	for _, f := range flags {
		name, value, ok := strings.Cut(f, "=")
		name = strings.ToLower(name)
		switch {
		case !ok || name == "":
			return nil, errors.New("--header must be name=value")
		case name == "authorization":
			return nil, errors.New("conditions never see the header authorization: give the token, or scopes and claims")
		}
		headers[name] = value
	}
	return headers, nil
}

func readClaims(flags []string) (map[string]any, error) {
	textual := []string{"sub", "email", "iss", "azp", "client_id", "scope"}
	claims := map[string]any{}
	for _, f := range flags {
		name, text, ok := strings.Cut(f, "=")
		if !ok || name == "" {
			return nil, errors.New("--claim must be name=value")
		}
		claims[name] = text
		if read, err := token.ReadClaims([]byte(`{"value":` + text + `}`)); err == nil && !slices.Contains(textual, name) {
			if all := read.Map(); len(all) == 1 {
				claims[name] = all["value"]
			}
		}
	}
	return claims, nil
}

package policy

import (
	"errors"
	"fmt"
	"mime"
	"strings"

	"scopeward/internal/exactjson"
	"scopeward/policy/condition"
)

// Body is a request's body. Most are never looked at: it is read when the first condition
// asks for it, and by one goroutine.
type Body struct {
	content string
	read    bool
	value   any
	err     error
}

// NewBody makes the body of a request with these headers, by lower-case name. Only what
// every service reads alike is JSON: a body that is encoded, of another type or in another
// character set is none.
func NewBody(content string, header func(name string) string) *Body {
	encoding, kind := header("content-encoding"), header("content-type")
	media, parameters, err := mime.ParseMediaType(kind)
	charset, hasCharset := parameters["charset"]
	switch {
	case content == "":
		return BrokenBody("there is none; does Envoy send it (with_request_body)?")
	case len(content) > condition.MaxBody:
		return BrokenBody(fmt.Sprintf("it has more than %d bytes", condition.MaxBody))
	case encoding != "" && !strings.EqualFold(encoding, "identity"):
		return BrokenBody("it is encoded (content-encoding)")
	case err != nil || media != "application/json" && !strings.HasSuffix(media, "+json"):
		return BrokenBody("its content-type is not application/json")
	case hasCharset && !strings.EqualFold(charset, "utf-8"):
		return BrokenBody("its content-type names another charset than utf-8")
	}
	return &Body{content: content}
}

// BrokenBody is a body that can't be read, for a reason in words.
func BrokenBody(reason string) *Body { return &Body{read: true, err: errors.New(reason)} }

// JSONBody is a body that has been read, as [exactjson.Read] would.
func JSONBody(value any) *Body { return &Body{read: true, value: value} }

// JSON reads the body. Its error has nothing of the body in it.
func (b *Body) JSON() (any, error) {
	if b == nil {
		return nil, errors.New("it is not known")
	}
	if !b.read {
		b.read = true
		b.value, b.err = exactjson.Read(b.content)
	}
	return b.value, b.err
}

// Peer is who has connected to Envoy, as Envoy knows them. What is empty is not known.
type Peer struct {
	Principal string // of a client certificate: its URI, else DNS name, else subject
	Address   string
}

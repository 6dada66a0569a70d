package config

import (
	"encoding/hex"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"scopeward/authz"
	"scopeward/authz/answer"
	"scopeward/internal/strictyaml"
)

// answerSection is an answer to denials.
type answerSection struct {
	Codes       []located                    `yaml:"codes" doc:"The codes of the denials that it answers; by default all." examples:"[[missing_token, invalid_token]]"`
	Accept      located                      `yaml:"accept" doc:"A media type: the entry answers only requests that prefer it (Accept)." examples:"[text/html]"`
	Redirect    located                      `yaml:"redirect" doc:"Where browsers are sent (302), for GET and HEAD only: an http(s) URL, or a path of the same site. Placeholders stand in the query." examples:"['https://login.acme.dev/?return_to={url}']"`
	ContentType located                      `yaml:"content_type" doc:"The content type of body; by default accept, else by the file's name, else application/json." examples:"[application/problem+json]"`
	Body        strictyaml.Located[bodyText] `yaml:"body" doc:"The body, or file: and the name of a file with it, which is read again when it changes. {code}, {error}, {message}, {scopes}, {url} and {request_id} stand for what the request's are, escaped for the content type." examples:"['file:forbidden.html']"`
	Headers     map[string]located           `yaml:"headers" doc:"More headers, with placeholders." examples:"[{x-request-id: '{request_id}'}]"`
}

// bodyText is a text of several lines, in which ${NAME} stands for an environment variable.
type bodyText string

// UnmarshalText expands references.
func (b *bodyText) UnmarshalText(written []byte) error {
	s, err := expand(string(written))
	*b = bodyText(s)
	return err
}

// file is the file that holds the body; "" if it is written itself.
func (b bodyText) file(dir string) string {
	if name, ok := strings.CutPrefix(string(b), "file:"); ok {
		return absolute(dir, name)
	}
	return ""
}

func (answerSection) AmendSchema(s strictyaml.JSONSchema) {
	orReference(s.Property("codes").Items(), oneOf(authz.DenialCodes()))
	s.Property("codes")["minItems"] = 1
	s.Property("headers")["propertyNames"] = strictyaml.JSONSchema{"pattern": headerNames}
	s["anyOf"] = []strictyaml.JSONSchema{{"required": []string{"redirect"}}, {"required": []string{"body"}}, {"required": []string{"headers"}}}
	s["not"] = strictyaml.JSONSchema{"required": []string{"redirect", "body"}}
	s["dependentRequired"] = map[string]any{"content_type": []string{"body"}}
}

// readAnswers compiles the answers, with the files that they name. Where those are not
// required, one that can't be read is empty.
func (v *validator) readAnswers(d *document, required bool) answer.List {
	var list answer.List
	before := len(v.problems)
	d.bodies = ""
	for _, l := range d.Answers {
		list = append(list, v.answer(l, d, required))
	}
	if len(v.problems) > before {
		return nil // what is left of them would shadow others, or not
	}
	for i, l := range d.Answers {
		v.reachable(d.Answers, list, i, l)
	}
	return list
}

func (v *validator) answer(l strictyaml.Located[answerSection], d *document, required bool) (e answer.Entry) {
	a := l.Value
	e.Codes = v.answerCodes(l)
	if a.Accept.Pos.Line > 0 {
		var err error
		if e.Accept, err = answer.MediaType(string(a.Accept.Value)); err != nil {
			v.add(a.Accept.Pos, "answers: accept: %v", err)
		}
	}
	redirects, hasBody := a.Redirect.Pos.Line > 0, a.Body.Pos.Line > 0
	switch {
	case redirects && hasBody:
		v.add(a.Body.Pos, "answers: an entry has a redirect or a body, not both: browsers show no body of a redirect; write the body as an entry of its own, after this one")
	case redirects:
		var err error
		e.Redirect, err = answer.NewRedirect(string(a.Redirect.Value))
		v.template("redirect", a.Redirect.Pos, "", err)
	case hasBody:
		e.ContentType, e.Body = v.answerBody(a, d, required)
	case len(a.Headers) == 0:
		v.add(l.Pos, "answers: the entry says nothing: write redirect, body or headers")
	}
	if a.ContentType.Pos.Line > 0 && !hasBody {
		v.add(a.ContentType.Pos, "answers: content_type has no effect without body")
	}
	e.Headers = v.answerHeaders(a.Headers)
	return e
}

func (v *validator) answerCodes(l strictyaml.Located[answerSection]) []string {
	codes := stringsOf(l.Value.Codes)
	if l.Value.Codes != nil && len(codes) == 0 {
		v.add(l.Pos, "answers: the list of codes is empty: name codes, or leave it out for all")
	}
	for i, c := range l.Value.Codes {
		v.oneOf("answers: a code", c, authz.DenialCodes()...)
		if slices.Contains(codes[:i], codes[i]) {
			v.add(c.Pos, "answers: the code %s is there twice", c.Value)
		}
	}
	return codes
}

func (v *validator) answerBody(a answerSection, d *document, required bool) (contentType string, body answer.Template) {
	text, file := string(a.Body.Value), a.Body.Value.file(d.dir())
	if file != "" {
		data, unreadable := strictyaml.ReadFile(file)
		switch {
		case unreadable != nil && !required:
			return "", func(*answer.Values) string { return "" }
		case unreadable != nil:
			v.add(a.Body.Pos, "answers: body: the file %s %s", file, unreadable[0].Message)
			return "", nil
		}
		text = string(data)
		sum := digest([]byte(d.bodies), data)
		d.bodies = hex.EncodeToString(sum[:])
	}
	pos, written := a.ContentType.Pos, string(a.ContentType.Value)
	switch {
	case pos.Line > 0:
	case a.Accept.Value != "":
		pos, written = a.Accept.Pos, string(a.Accept.Value)
	case file != "":
		pos, written = a.Body.Pos, typeOfFile(file)
		if written == "" {
			v.add(pos, "answers: the name of the body's file doesn't tell its content type: write content_type, as in text/html")
			return "", nil
		}
	default:
		written = answer.JSON
	}
	contentType, err := answer.ContentType(written)
	if err != nil {
		v.add(pos, "answers: content_type: %v", err)
		return "", nil
	}
	if body, err = answer.NewBody(contentType, text); err != nil {
		at := a.Body.Pos
		if file != "" {
			at = strictyaml.Pos{File: file}
		}
		v.template("body", at, text, err)
	}
	return contentType, body
}

// template reports a mistake in a template: in the text of a file at its place.
func (v *validator) template(what string, pos strictyaml.Pos, text string, err error) {
	if err == nil {
		return
	}
	if m, ok := errors.AsType[*answer.MistakeError](err); ok && pos.Line == 0 {
		before := text[:min(m.Offset, len(text))]
		pos.Line = strings.Count(before, "\n") + 1
		pos.Column = len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
	}
	v.add(pos, "answers: %s: %v", what, err)
}

func typeOfFile(name string) string {
	return map[string]string{
		".html": "text/html", ".htm": "text/html", ".json": answer.JSON, ".txt": "text/plain", ".xml": "application/xml",
	}[strings.ToLower(filepath.Ext(name))]
}

func (v *validator) answerHeaders(written map[string]located) (headers []answer.Header) {
	for _, name := range slices.Sorted(maps.Keys(written)) {
		l, lower := written[name], strings.ToLower(name)
		if fault := answer.CheckHeader(lower); fault != "" {
			v.add(l.Pos, "answers: an answer can't have the header %q: %s", name, fault)
			continue
		}
		if slices.ContainsFunc(headers, func(h answer.Header) bool { return h.Name == lower }) {
			v.add(l.Pos, "answers: header %s is there twice: the case of a header's name says nothing", lower)
		}
		value, err := answer.NewHeaderValue(string(l.Value))
		v.template("header "+lower, l.Pos, "", err)
		headers = append(headers, answer.Header{Name: lower, Value: value})
	}
	return headers
}

// reachable refuses an entry that can't answer a code, since an earlier one always does.
func (v *validator) reachable(all []strictyaml.Located[answerSection], list answer.List, i int, l strictyaml.Located[answerSection]) {
	for _, c := range l.Value.Codes {
		if by, shadowed := list.Shadowed(i, string(c.Value)); shadowed {
			v.add(c.Pos, "answers: this entry never answers %s: the one of line %d always does; put this one before it, or remove the code", c.Value, all[by].Pos.Line)
		}
	}
	if len(l.Value.Codes) > 0 {
		return
	}
	for _, code := range authz.DenialCodes() {
		if _, shadowed := list.Shadowed(i, code); !shadowed {
			return
		}
	}
	v.add(l.Pos, "answers: this entry never answers: earlier ones always do for each code; put it before them, or remove it")
}

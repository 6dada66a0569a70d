package page

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"scopeward/authz/token"
)

// Question is what the form asks about: a request, with a token, or with what a valid
// token would hold, or with neither.
type Question struct {
	Method   string   `json:"method"`
	URL      string   `json:"url"`   // or a path
	Valid    bool     `json:"valid"` // there is a valid token, with the scopes and claims
	Scopes   []string `json:"scopes"`
	Claims   []string `json:"claims"`  // name=value
	Headers  []string `json:"headers"` // name=value
	ClientIP string   `json:"clientIp"`
	Token    string   `json:"token"` // whole; it is verified, and neither kept nor shown
}

// Explainer answers a question. The error is about the question, in words.
type Explainer func(context.Context, Question) (any, error)

const (
	maxQuestion = 2*token.MaxLength + 64<<10 // bytes
	// maxExplaining bounds the questions at one time: a token may cost a request to its provider.
	maxExplaining = 4
	explainTime   = 10 * time.Second
)

type explain struct {
	answer Explainer
	busy   chan struct{}
}

func newExplain(answer Explainer) *explain {
	return &explain{answer, make(chan struct{}, maxExplaining)}
}

// ServeHTTP implements [http.Handler]. What it answers never has the token in it.
func (e *explain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case e.busy <- struct{}{}:
		defer func() { <-e.busy }()
	default:
		refuse(w, http.StatusServiceUnavailable, "Too many questions are being answered: ask again.")
		return
	}
	if r.Header.Get("Content-Type") != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "A question is JSON (Content-Type: application/json).")
		return
	}
	var q Question
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion))
	body.DisallowUnknownFields()
	if body.Decode(&q) != nil { // the error could quote the token
		refuse(w, http.StatusBadRequest, fmt.Sprintf("The question can't be read: it is JSON of at most %d bytes.", maxQuestion))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainTime)
	defer cancel()
	answer, err := e.answer(ctx, q)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	reply(w, http.StatusOK, answer)
}

func refuse(w http.ResponseWriter, status int, why string) {
	reply(w, status, map[string]string{"error": why})
}

func reply(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"The answer can't be shown."}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the page may be gone
}

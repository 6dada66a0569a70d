package e2e

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// TestCorpus runs the cases through a real Envoy, with a Scopeward for each; package main of
// cmd/scopeward runs them in process, in every mode. Envoy sees nothing of the mode: each
// case has one here, and each mode has cases.
func TestCorpus(t *testing.T) {
	type run struct {
		c    *corpus.Case
		name string
		idp  *tokentest.Provider
	}
	var runs []run
	var targets []target
	up := newUpstream(t)
	for _, c := range corpus.Load(t, os.DirFS("testdata/corpus")) {
		if !slices.Contains(c.Runs, "envoy") {
			continue
		}
		idp, mode := tokentest.New(t), c.Modes[len(runs)%len(c.Modes)]
		s := serve(t, "--config", c.Setup(t, t.TempDir(), mode, idp))
		r := run{c, c.Name + "-" + mode, idp}
		runs = append(runs, r)
		targets = append(targets, target{name: r.name, authz: s.grpc, policy: c.Policy})
	}
	addresses := startEnvoy(t, up.Listener.Addr().String(), targets)
	for _, r := range runs {
		t.Run(r.name, func(t *testing.T) {
			tokens := r.c.Mint(t, r.idp)
			for _, step := range r.c.Steps {
				t.Run(step.Name, func(t *testing.T) {
					id := r.name + "/" + step.Name
					wire := r.c.Wire(t, step, tokens)
					wire = bytes.Replace(wire, []byte("\r\n"), []byte("\r\n"+stepHeader+": "+id+"\r\n"), 1)
					res, body := exchange(t, addresses[r.name], wire)
					step.Answer.Compare(t, corpus.Outcome{
						Status: res.StatusCode, Headers: res.Header, Body: body, Upstream: up.headers(id),
					})
				})
			}
		})
	}
}

package serve

import (
	"context"
	"log/slog"
	"time"
)

// readyPoll is the time between two looks whether a new process is ready.
const readyPoll = 10 * time.Millisecond

// readiness is the body of /readyz.
type readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // why it is not ready, or what is wrong although it is
}

// waitReady waits until a new process may serve, and reports whether it may: ctx has not
// ended. Each provider with keys must have given some and each Redis have been tried. After
// listen.start_patience it is enough that they have been tried, lest a provider's outage
// keeps every new process down. A process that has been ready stays so until it ends.
func (s *service) waitReady(ctx context.Context) bool {
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()
	for start := time.Now(); ; {
		st := s.state.Load() // a reload may have mended it
		tried, missing := st.tried(), st.keyless()
		if tried && (len(missing) == 0 || time.Since(start) >= st.Config.Listen.StartPatience) {
			if len(missing) > 0 {
				s.log.Warn("serving without the keys of some providers, whose tokens get 503: listen.start_patience is over",
					slog.Any("providers", missing), slog.String("start_patience", st.Config.Listen.StartPatience.String()))
			}
			s.serving.Store(true)
			s.log.Info("ready")
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-poll.C:
		}
	}
}

// tried reports whether all metadata and keys have been asked for, and all Redises tried.
func (st *state) tried() bool {
	for _, p := range st.providers {
		if p.Discovery != nil && !p.Discovery.Tried() {
			return false
		}
		if p.Keys == nil {
			continue
		}
		if tried, _ := p.Keys.Ready(); !tried {
			return false
		}
	}
	for _, r := range st.sharing.connections() {
		if !r.tried() {
			return false
		}
	}
	return true
}

// keyless names the providers that have not given keys yet.
func (st *state) keyless() (names []string) {
	for _, p := range st.providers {
		if p.Keys == nil {
			continue
		}
		if _, ok := p.Keys.Age(); !ok {
			names = append(names, p.Name)
		}
	}
	return names
}

// readiness tells whether the service is ready, and everything that is wrong.
func (s *service) readiness() readiness {
	st := s.state.Load()
	r := readiness{Ready: s.serving.Load() && !s.draining.Load(), Reasons: []string{}}
	add := func(reason string) { r.Reasons = append(r.Reasons, reason) }
	switch {
	case s.draining.Load():
		add("draining: the process was told to end")
	case !r.Ready:
		add("starting: it waits for the providers' keys for at most " + st.Config.Listen.StartPatience.String() + " (listen.start_patience)")
	}
	for _, p := range st.providers {
		for _, e := range p.Endpoints {
			if up, reason := e.State(); !up {
				add("provider " + p.Name + ": " + e.Name + " is asked seldom until it is healthy again: " + reason)
			}
		}
		if p.Discovery != nil {
			if _, _, err := p.Discovery.State(); err != nil {
				add("provider " + p.Name + ": its metadata cannot be read: " + err.Error())
			}
		}
		if p.Keys == nil {
			continue
		}
		if _, reason := p.Keys.Ready(); reason != "" {
			add("provider " + p.Name + ": " + reason)
		}
	}
	for _, c := range st.sharing.connections() {
		if _, reason := c.State(); reason != "" {
			add("Redis " + c.URL().String() + ": " + reason + "; each replica goes on by itself")
		}
	}
	if _, err := s.reloads.last(); err != nil {
		add("the files on disk are broken, what was last good serves on: " + err.Error())
	}
	for _, reason := range s.watcher.Trouble() {
		add("changed files are noticed some seconds late: " + reason)
	}
	if s.tls != nil {
		r.Reasons = append(r.Reasons, s.tls.why(time.Now())...)
	}
	for _, setting := range s.reloads.needRestart() {
		add(setting + " has changed on disk: restart to bring it into force")
	}
	return r
}

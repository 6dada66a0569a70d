package serve

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"scopeward/internal/config"
	"scopeward/internal/providers"
)

// newKeysPatience is how long a reload waits for the keys of a new provider, so
// that its first tokens don't get 503.
const newKeysPatience = 5 * time.Second

// reloads is what became of the last attempt to read the files.
type reloads struct {
	mu       sync.Mutex
	lastErr  error
	lastGood time.Time
	lastBad  time.Time
	restart  []string // settings on disk that only a restart brings into force
}

func (r *reloads) note(err error, now time.Time, restart ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastErr = err
	if err == nil {
		r.lastGood, r.restart = now, restart
	} else {
		r.lastBad = now
	}
}

// last gives when the files were last good, and what is wrong with them now.
func (r *reloads) last() (good time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastGood, r.lastErr
}

// failed gives when the files were found to be what they are now: broken.
func (r *reloads) failed() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastBad
}

func (r *reloads) needRestart() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.restart
}

// watch reads the files again when they change, and on SIGHUP, until ctx ends. run is for
// what a reload starts.
func (s *service) watch(ctx context.Context, run func(func() error)) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	s.watcher.Run(ctx, hangup, func(asked bool) bool {
		if asked {
			s.log.Info("reading the files again, as SIGHUP asks")
		}
		whole := s.reload(ctx, run, asked)
		if s.tls != nil {
			s.tls.reload(s.state.Load().Config, s.log, asked)
		}
		return whole
	})
}

// reload brings the files into force, or keeps what was last good and says why.
// The identities of providers that stay the same stay cached; decisions never are.
// It returns false, and does nothing, if the files changed while they were read.
func (s *service) reload(ctx context.Context, run func(func() error), asked bool) (whole bool) {
	defer s.procs.All()()
	f, err := config.LoadRules(s.options)
	var next *state
	if err == nil {
		next, err = s.prepare(f)
	}
	if !s.watcher.Unchanged() {
		return false
	}
	now := time.Now()
	_, failed := s.reloads.last()
	if err != nil {
		if asked || failed == nil || failed.Error() != err.Error() {
			s.log.Error("the files are broken; what was last good serves on", slog.Any("error", err))
		}
		s.reloads.note(err, now)
		paths := wanted(s.options, f)
		s.wanted.Store(&paths)
		return true
	}
	s.wanted.Store(nil)
	old := s.state.Load()
	restart := old.Config.NeedRestart(f.Config)
	s.reloads.note(nil, now, restart...)
	if old.same(next) {
		switch {
		case failed != nil:
			s.log.Info("the files are good again", slog.String("policy", f.Policy.Version()))
		case asked:
			s.log.Info("the files have not changed", slog.String("policy", f.Policy.Version()))
		}
		return true
	}
	s.swap(ctx, run, old, next)
	for _, setting := range restart {
		s.log.Warn("a changed setting needs a restart", slog.String("setting", setting))
	}
	return true
}

// watched are the files in force, and those that would be if they were not broken.
func (s *service) watched() []string {
	paths := s.state.Load().Config.Watched()
	if wanted := s.wanted.Load(); wanted != nil {
		paths = append(paths, *wanted...)
	}
	return paths
}

// wanted are the files that a broken configuration depends on, as far as it can be read.
func wanted(o config.Options, f config.Files) []string {
	if f.Config == nil {
		return []string{o.File}
	}
	return append(f.Config.Watched(), o.File)
}

// swap makes next what is in force.
func (s *service) swap(ctx context.Context, run func(func() error), old, next *state) {
	patience, cancel := context.WithTimeout(ctx, newKeysPatience)
	defer cancel()
	for _, p := range next.providers {
		p.Start(ctx, run)
		_ = p.WaitTried(patience) // without keys its tokens get 503, as at the start
	}
	for _, r := range next.sharing.connections() {
		r.start(ctx, run)
		_ = r.waitTried(patience)
	}
	s.server.Swap(s.snapshot(next, s.server.Snapshot()))
	s.state.Store(next)
	for _, p := range old.providers {
		if !next.has(p) {
			p.Stop()
		}
	}
	for _, r := range old.sharing.connections() {
		if !slices.Contains(next.sharing.connections(), r) {
			r.end()
		}
	}
	s.warn(next.Files)
	s.log.Info("the files were loaded", slog.String("policy", next.Policy.Version()), slog.Int("rules", len(next.Policy.Rules())))
}

func (st *state) has(p *providers.Provider) bool {
	for _, q := range st.providers {
		if p == q {
			return true
		}
	}
	return false
}

// same reports whether two states decide alike.
func (st *state) same(next *state) bool {
	for _, p := range next.providers {
		if !st.has(p) {
			return false
		}
	}
	return st.Config.Same(next.Config) && st.sharing == next.sharing && st.Revoked.Version == next.Revoked.Version && st.Policy.Version() == next.Policy.Version() &&
		(st.Shadow == nil) == (next.Shadow == nil) && (st.Shadow == nil || st.Shadow.Version() == next.Shadow.Version())
}

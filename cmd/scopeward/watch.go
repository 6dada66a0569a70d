package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"scopeward/policy"
)

// settle is how long the folder must be quiet before the policy is read: an
// editor writes a file in several steps.
const settle = 50 * time.Millisecond

// reloads is what became of the last attempt to read the policy files.
type reloads struct {
	mu       sync.Mutex
	lastErr  error
	lastGood time.Time
}

func (r *reloads) note(err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastErr = err
	if err == nil {
		r.lastGood = now
	}
}

// last gives when the files were last good, and what is wrong with them now.
func (r *reloads) last() (good time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastGood, r.lastErr
}

// watchPolicy reads the policy files again when they change, and on SIGHUP.
// It watches folders, not files: editors replace a file by renaming another
// over it, and Kubernetes swaps a symlink to a folder.
func (s *service) watchPolicy(ctx context.Context) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("policy files can't be watched: %w", err)
	}
	defer watcher.Close()
	for _, dir := range policyFolders(s.config.policyPaths()) {
		if err := watcher.Add(dir); err != nil {
			return fmt.Errorf("policy folder %s can't be watched: %w", dir, err)
		}
	}
	// What changed between the first reading and the watch is not lost.
	quiet := time.NewTimer(0)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			quiet.Reset(settle)
		case err := <-watcher.Errors:
			s.log.Warn("a change to the policy may have been missed; SIGHUP reads it again", slog.Any("error", err))
			quiet.Reset(settle)
		case <-hangup:
			quiet.Reset(0)
		case <-quiet.C:
			s.reloadPolicy()
		}
	}
}

// policyFolders are the folders whose changes matter: of the paths as written,
// and of the files that symlinks among them lead to.
func policyFolders(paths []string) []string {
	seen := map[string]bool{}
	var folders []string
	add := func(path string) {
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			path = filepath.Dir(path)
		}
		if !seen[path] {
			seen[path] = true
			folders = append(folders, path)
		}
	}
	for _, path := range paths {
		add(path)
		if target, err := filepath.EvalSymlinks(path); err == nil {
			add(target)
		}
	}
	return folders
}

// reloadPolicy swaps the policy in, or keeps the last good one and says why.
// The identity cache is not touched: identities are cached, decisions never.
func (s *service) reloadPolicy() {
	set, err := policy.Load(s.config.policyPaths()...)
	now := time.Now()
	if err != nil {
		if _, last := s.reloads.last(); last == nil || last.Error() != err.Error() {
			s.log.Error("the policy was not loaded; the last good one serves on", slog.Any("error", err))
		}
		s.reloads.note(err, now)
		return
	}
	_, failed := s.reloads.last()
	s.reloads.note(nil, now)
	old := s.server.Snapshot()
	if set.Version() == old.Policy.Version() {
		if failed != nil {
			s.log.Info("the policy is good again", slog.String("policy", set.Version()))
		}
		return
	}
	next := *old
	next.Policy = set
	s.server.Swap(&next)
	s.log.Info("the policy was loaded", slog.String("policy", set.Version()), slog.Int("rules", len(set.Rules())))
}

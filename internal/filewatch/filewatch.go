// Package filewatch reports when files have changed and come to rest.
//
// The system's events make it quick, but are not needed: they may not be had, and
// don't tell of a bind-mounted file, of a layer below an overlay, or of a file that a
// symlink reaches by another path. So the files are also looked at every few seconds.
package filewatch

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// interval is the time between two looks at the size and time of each file.
	interval = 2 * time.Second
	// hashInterval is the time between two looks at their contents, which may differ
	// although size and time do not.
	hashInterval = 30 * time.Second
	// rest is how long a file must not change before it is read. Half of a file that is
	// being written may be valid, without its strictest rule.
	rest = time.Second
	// glance is how long nothing must change when somebody asks for a reading. It also
	// bounds how often events lead to a look.
	glance = 50 * time.Millisecond
)

// Options configure a [Watcher].
type Options struct {
	Paths  func() []string // the files, and the folders of YAML files, to watch
	Logger *slog.Logger
	// Subscribe opens the source of events, by default [fsnotify.NewWatcher].
	Subscribe func() (*fsnotify.Watcher, error)
}

// Watcher watches files and folders by their paths.
type Watcher struct {
	opts Options

	// Only Run and what it calls use these.
	events  *fsnotify.Watcher // nil without a source of events
	seen    view              // at the latest look
	changed time.Time         // when a look last differed from the one before
	pending bool              // a change has not been read yet
	asked   bool
	hashed  time.Time
	digest  string // of what was read last; "" reads again

	mu      sync.Mutex
	trouble map[string]string // why events don't come, by folder; "" is all folders
}

// New makes a watcher, which does nothing until Run.
func New(opts Options) *Watcher {
	if opts.Subscribe == nil {
		opts.Subscribe = fsnotify.NewWatcher
	}
	return &Watcher{opts: opts, trouble: map[string]string{}}
}

// Run calls read when it begins, after the files have changed and come to rest, and when
// asked receives, until ctx ends. If read returns false, it is called again.
func (w *Watcher) Run(ctx context.Context, asked <-chan os.Signal, read func(asked bool) bool) {
	defer func() {
		if w.events != nil {
			w.events.Close()
		}
	}()
	due := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var events <-chan fsnotify.Event
		var errs <-chan error
		if w.events != nil {
			events, errs = w.events.Events, w.events.Errors
		}
		select {
		case <-ctx.Done():
			return
		case <-events:
			due = earlier(due, time.Now().Add(glance))
		case err := <-errs: // such as an overflow
			w.opts.Logger.Warn("an event of a file was lost; looking at the files instead", slog.Any("error", err))
			w.hashed, due = time.Time{}, time.Now()
		case <-asked:
			w.asked, due = true, time.Now()
		case <-timer.C:
			due = time.Now().Add(w.step(time.Now(), read))
		}
		timer.Reset(time.Until(due))
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// step looks at the files, has them read if that is due, and returns when to look again.
func (w *Watcher) step(now time.Time, read func(asked bool) bool) time.Duration {
	w.note(look(w.opts.Paths()), now)
	quiet := w.changed.Add(glance)
	if !w.asked {
		quiet = w.seen.quiet(quiet)
	}
	if now.Before(quiet) {
		return min(quiet.Sub(now), rest/4)
	}
	if !w.asked && !w.pending && now.Sub(w.hashed) < hashInterval {
		return interval
	}
	// Before reading: what changes meanwhile causes another look.
	w.subscribe()
	digest := w.seen.digest()
	w.hashed, w.pending = now, false
	if w.asked || digest != w.digest {
		asked := w.asked
		w.digest, w.asked = digest, false
		if !read(asked) {
			w.digest, w.pending = "", true
		}
		w.note(look(w.opts.Paths()), time.Now()) // what was read may name other files
	}
	if w.pending {
		return glance
	}
	return interval
}

// note remembers a look, and when each file began to be what it is.
func (w *Watcher) note(next view, now time.Time) {
	if next.since(w.seen, now) {
		w.changed, w.pending = now, true
	}
	w.seen = next
}

// Unchanged reports whether the files are what they were when read was called. Only read
// may call it.
func (w *Watcher) Unchanged() bool {
	return w.seen == nil || w.seen.same(look(w.opts.Paths()))
}

// Trouble says why events of some files don't come, so that a change is noticed only by
// looking. It is empty if they do.
func (w *Watcher) Trouble() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var reasons []string
	for folder, reason := range w.trouble {
		if folder != "" {
			reason = folder + ": " + reason
		}
		reasons = append(reasons, reason)
	}
	slices.Sort(reasons)
	return reasons
}

// subscribe asks for the events of each folder in which something is watched. It watches
// folders because editors replace a file by another, and Kubernetes a link to a folder.
func (w *Watcher) subscribe() {
	if w.events == nil {
		events, err := w.opts.Subscribe()
		if w.report("", err); err != nil {
			return
		}
		w.events = events
	}
	for _, folder := range w.seen.folders() {
		w.report(folder, w.events.Add(folder)) // anew: it may have been replaced
	}
}

// report notes that the events of a folder come or not, and logs it once.
func (w *Watcher) report(folder string, err error) {
	w.mu.Lock()
	_, known := w.trouble[folder]
	delete(w.trouble, folder)
	if err != nil {
		w.trouble[folder] = err.Error()
	}
	w.mu.Unlock()
	attrs := []any{slog.String("interval", interval.String())}
	if folder != "" {
		attrs = append(attrs, slog.String("folder", folder))
	}
	switch {
	case err != nil && !known:
		w.opts.Logger.Warn("the system gives no events of changed files; looking at them instead", append(attrs, slog.Any("error", err))...)
	case err == nil && known:
		w.opts.Logger.Info("the system gives events of changed files again", attrs...)
	}
}

// folders are those of the paths as written, and of the files that links lead to.
func (v view) folders() []string {
	seen := map[string]bool{}
	for path, s := range v {
		for _, path := range []string{path, s.target} {
			if path == "" {
				continue
			}
			if !s.folder {
				path = filepath.Dir(path)
			}
			seen[path] = true
		}
	}
	var folders []string
	for folder := range seen {
		folders = append(folders, folder)
	}
	slices.Sort(folders)
	return folders
}

package filewatch

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// noEvents is a system without an inotify instance.
func noEvents() (*fsnotify.Watcher, error) { return nil, errors.New("too many open files") }

// reader is what Run reads files with: it keeps what it has read.
type reader struct {
	t    *testing.T
	path string
	mu   sync.Mutex
	read []string
}

func (r *reader) take() (read []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	read, r.read = r.read, nil
	return read
}

// watch runs a watcher of paths without events until the test ends. The reader reads path.
func watch(t *testing.T, path string, paths ...string) (*Watcher, *reader, chan os.Signal, *bytes.Buffer) {
	var log bytes.Buffer // read only while all goroutines of the bubble wait
	w := New(Options{Paths: func() []string { return paths }, Logger: slog.New(slog.NewTextHandler(&log, nil)), Subscribe: noEvents})
	r := &reader{t: t, path: path}
	asked := make(chan os.Signal)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx, asked, func(bool) bool {
			text, err := os.ReadFile(path)
			if err != nil {
				text = []byte("gone")
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.read = append(r.read, string(text))
			return w.Unchanged()
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w, r, asked, &log
}

func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// age gives a file a time long ago, as of one that was written whole.
func age(t *testing.T, path string) {
	t.Helper()
	if err := os.Chtimes(path, time.Time{}, time.Unix(1e8, 0)); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%s: it has read %q, want %q", what, got, want)
	}
}

// TestWithoutEvents: files are looked at where the system gives no events, which is said
// once.
func TestWithoutEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "policy.yaml")
		write(t, path, "one")
		age(t, path)
		w, r, asked, log := watch(t, path, path)
		pass(100 * time.Millisecond)
		want(t, "at the start", r.take(), "one")
		pass(5 * time.Minute)
		want(t, "while nothing changes", r.take())
		write(t, path, "two")
		pass(2*interval + rest)
		want(t, "after a change", r.take(), "two")
		write(t, path, "two")
		pass(5 * time.Minute)
		want(t, "after it was written with the same content", r.take())
		asked <- os.Interrupt
		pass(2 * glance)
		want(t, "when asked", r.take(), "two")
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, log)
		}
		if trouble := w.Trouble(); len(trouble) != 1 || trouble[0] != "too many open files" {
			t.Errorf("the trouble is %q", trouble)
		}
	})
}

// TestInPlace: a file that is written step by step is read once it rests.
func TestInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "policy.yaml")
		write(t, path, "old")
		age(t, path)
		_, r, _, _ := watch(t, path, path)
		pass(rest)
		r.take()
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for range 20 {
			if _, err := f.WriteString("rule "); err != nil {
				t.Fatal(err)
			}
			pass(rest * 9 / 10)
		}
		want(t, "while it is written", r.take())
		pass(2 * rest)
		want(t, "when it is whole", r.take(), strings.Repeat("rule ", 20))
	})
}

// TestReplaced: a file that was written long before it took another's place is read at
// once; one that was just made may still be written.
func TestReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path, next := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "next")
		write(t, path, "old")
		age(t, path)
		_, r, _, _ := watch(t, path, path)
		pass(rest)
		r.take()
		write(t, next, "new")
		age(t, next)
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
		pass(interval + glance)
		want(t, "a file that is whole", r.take(), "new")
		write(t, next, "ha")
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
		for i := range 10 { // it is still written
			pass(rest * 9 / 10)
			write(t, path, strings.Repeat("ha", i))
		}
		want(t, "a file that is still written", r.take())
		write(t, path, "whole")
		pass(2 * rest)
		want(t, "once it rests", r.take(), "whole")
	})
}

// TestNotSeen: what size and time don't show is found by content, and what a link leads to
// by the link.
func TestNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, elsewhere := t.TempDir(), t.TempDir()
		path, target := filepath.Join(dir, "policy.yaml"), filepath.Join(elsewhere, "target")
		write(t, target, "one")
		age(t, target)
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		_, r, _, _ := watch(t, path, path)
		pass(rest)
		r.take()
		write(t, target, "two")
		age(t, target) // the same size and time
		pass(hashInterval + 2*interval)
		want(t, "the same size and time", r.take(), "two")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		pass(2*interval + rest)
		want(t, "removed", r.take(), "gone")
	})
}

// TestFolder: a folder's YAML files count, and its names; a log beside them does not.
func TestFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		one, log := filepath.Join(dir, "one.yaml"), filepath.Join(dir, "log")
		write(t, one, "one")
		write(t, log, "")
		_, r, _, _ := watch(t, one, dir)
		pass(2 * rest)
		want(t, "at the start", r.take(), "one")
		for range 10 {
			write(t, log, "a line\n")
			pass(interval)
		}
		want(t, "a log beside it", r.take())
		write(t, filepath.Join(dir, "two.YML"), "two")
		pass(2*interval + rest)
		want(t, "another file", r.take(), "one")
		write(t, filepath.Join(dir, "two.YML"), "three")
		pass(2*interval + rest)
		want(t, "an edit of it", r.take(), "one")
	})
}

// TestChangedMeanwhile: what was read while the files changed is read again.
func TestChangedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "policy.yaml")
		write(t, path, "one")
		age(t, path)
		w := New(Options{Paths: func() []string { return []string{path} }, Logger: slog.New(slog.DiscardHandler), Subscribe: noEvents})
		ctx, cancel := context.WithCancel(t.Context())
		var whole []bool
		w.Run(ctx, nil, func(bool) bool {
			if len(whole) == 0 {
				write(t, path, "two and more")
			} else {
				cancel()
			}
			whole = append(whole, w.Unchanged())
			return whole[len(whole)-1]
		})
		if len(whole) != 2 || whole[0] || !whole[1] {
			t.Errorf("the readings were whole: %v", whole)
		}
	})
}

// TestEvents: with events, a change is noticed without waiting for the next look.
func TestEvents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, next := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "next")
	write(t, path, "one")
	age(t, path)
	w := New(Options{Paths: func() []string { return []string{path} }, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var took time.Duration
	var at time.Time
	w.Run(ctx, nil, func(bool) bool {
		if at.IsZero() {
			write(t, next, "two")
			age(t, next)
			time.AfterFunc(2*glance, func() {
				if err := os.Rename(next, path); err != nil {
					t.Error(err)
				}
			})
			at = time.Now()
			return true
		}
		took = time.Since(at)
		cancel()
		return true
	})
	if took == 0 || took >= interval {
		t.Errorf("noticed after %v", took)
	}
	if trouble := w.Trouble(); len(trouble) != 0 {
		t.Errorf("the trouble is %q", trouble)
	}
}

package filewatch

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// view is what a look has found at each path.
type view map[string]*stamp

// stamp is what can be seen of a file without reading it.
type stamp struct {
	info   fs.FileInfo // nil if there is none; err says why
	err    string
	target string // the file itself, if path is a link or goes through one
	folder bool
	names  string    // the files of a folder
	at     time.Time // when it began to be what it is
}

// look looks at paths, and at the YAML files in those that are folders.
func look(paths []string) view {
	v := view{}
	for _, path := range paths {
		s := v.add(path)
		if !s.folder {
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			s.err = err.Error()
		}
		for _, e := range entries {
			s.names += e.Name() + "\x00"
			if ext := strings.ToLower(filepath.Ext(e.Name())); ext == ".yaml" || ext == ".yml" {
				v.add(filepath.Join(path, e.Name()))
			}
		}
	}
	return v
}

func (v view) add(path string) *stamp {
	s := &stamp{}
	v[path] = s
	info, err := os.Stat(path)
	if err != nil {
		s.err = err.Error()
		return s
	}
	s.info, s.folder = info, info.IsDir()
	if target, err := filepath.EvalSymlinks(path); err == nil && target != filepath.Clean(path) {
		s.target = target
	}
	return s
}

// same reports whether two looks found the same.
func (v view) same(next view) bool {
	return len(v) == len(next) && !slices.ContainsFunc(slices.Collect(maps.Keys(v)), func(path string) bool {
		return next[path] == nil || !v[path].same(next[path])
	})
}

func (s *stamp) same(next *stamp) bool {
	switch {
	case s.err != next.err || s.names != next.names || s.folder != next.folder || (s.info == nil) != (next.info == nil):
		return false
	case s.info == nil:
		return true
	case !os.SameFile(s.info, next.info) || s.info.Mode() != next.info.Mode():
		return false
	}
	return s.folder || s.info.Size() == next.info.Size() && s.info.ModTime().Equal(next.info.ModTime())
}

// since sets when each file began to be what it is, and reports whether a look differs
// from the one before. A file that is another than before, as after a rename, has been
// what it is since it was written; of one that was written in place only the last look
// is known.
func (v view) since(before view, now time.Time) (changed bool) {
	changed = len(v) != len(before)
	for path, s := range v {
		old := before[path]
		if old != nil && old.same(s) {
			s.at = old.at
			continue
		}
		changed = true
		s.at = now
		replaced := old == nil || old.info == nil || s.info != nil && !os.SameFile(old.info, s.info)
		if s.info != nil && replaced && s.info.ModTime().Before(now) {
			s.at = s.info.ModTime()
		}
	}
	return changed
}

// quiet is when every file has rested, and no sooner than least.
func (v view) quiet(least time.Time) time.Time {
	for _, s := range v {
		if at := s.at.Add(rest); at.After(least) {
			least = at
		}
	}
	return least
}

// maxHashed bounds how much of a file is looked at; those that are read are smaller.
const maxHashed = 16 << 20

// digest tells contents apart.
func (v view) digest() string {
	sum := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(v)) {
		s := v[path]
		fmt.Fprintf(sum, "%q %q %q", path, s.err, s.names)
		if s.info == nil || !s.info.Mode().IsRegular() {
			continue
		}
		content, err := hash(path)
		fmt.Fprintf(sum, "%x %v", content, err)
	}
	return string(sum.Sum(nil))
}

func hash(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, io.LimitReader(f, maxHashed))
	return sum.Sum(nil), err
}

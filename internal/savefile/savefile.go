// Package savefile writes a file as a whole, so that a reader sees the old text or the new
// one and never a half.
package savefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Mode returns the permissions of the file that is there, or ifNew if there is none. The
// error says why [Write] would refuse: a symbolic link is never written through, and
// neither is anything else that is not a file.
func Mode(name string, ifNew fs.FileMode) (fs.FileMode, error) {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ifNew, nil
	case err != nil:
		return 0, err
	case info.Mode()&fs.ModeSymlink != 0:
		return 0, fmt.Errorf("%s is a symbolic link, which is never written through: name the file itself", name)
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%s is not a file", name)
	}
	return info.Mode().Perm(), nil
}

// Write replaces the file, or makes it. It has its permissions from the beginning.
func Write(name string, data []byte, mode fs.FileMode) error {
	if _, err := Mode(name, mode); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".save-*") // 0600 from the beginning
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name) // replaces a link that came meanwhile, never its target
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

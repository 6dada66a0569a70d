package login

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ownerOnly is the mode of a saved token.
const ownerOnly fs.FileMode = 0o600

// Savable tells whether [Save] could write a file: it asks before a person is bothered.
func Savable(name string) error {
	_, err := mode(name)
	if err != nil {
		return err
	}
	if dir, err := os.Stat(filepath.Dir(name)); err != nil || !dir.IsDir() {
		return fmt.Errorf("there is no folder %s to save the token in", filepath.Dir(name))
	}
	return nil
}

// Save writes a token and a line break into a file that only its owner can read. A file
// that is there is replaced as a whole, and its mode never gets wider; a symbolic link is
// refused, as is whatever else is not a file.
func Save(name, token string) error {
	mode, err := mode(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".token-*") // 0600 from the beginning
	if err != nil {
		return fmt.Errorf("the token can't be saved: %w", err)
	}
	_, err = f.WriteString(token + "\n")
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name) // replaces a link that came meanwhile, never what it points to
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("the token can't be saved: %w", err)
	}
	return nil
}

// mode is what a saved file gets: owner only, and no more than it had.
func mode(name string) (fs.FileMode, error) {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ownerOnly, nil
	case err != nil:
		return 0, fmt.Errorf("the token can't be saved: %w", err)
	case info.Mode()&fs.ModeSymlink != 0:
		return 0, fmt.Errorf("%s is a symbolic link, which is never written through: name the file itself", name)
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%s is not a file", name)
	}
	return ownerOnly & info.Mode().Perm(), nil
}

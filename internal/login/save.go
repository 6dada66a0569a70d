package login

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"scopeward/internal/savefile"
)

// ownerOnly is the mode of a saved token.
const ownerOnly fs.FileMode = 0o600

// Savable reports why [Save] could not write a file, before a person is bothered.
func Savable(name string) error {
	if _, err := savefile.Mode(name, ownerOnly); err != nil {
		return fmt.Errorf("the token can't be saved: %w", err)
	}
	if dir, err := os.Stat(filepath.Dir(name)); err != nil || !dir.IsDir() {
		return fmt.Errorf("there is no folder %s to save the token in", filepath.Dir(name))
	}
	return nil
}

// Save writes a token and a line break into a file that only its owner can read. A file
// that is there is replaced as a whole, and its mode never gets wider; a symbolic link is
// refused, as is anything else that is not a file.
func Save(name, token string) error {
	mode, err := savefile.Mode(name, ownerOnly)
	if err == nil {
		err = savefile.Write(name, []byte(token+"\n"), mode&ownerOnly)
	}
	if err != nil {
		return fmt.Errorf("the token can't be saved: %w", err)
	}
	return nil
}

package main

import (
	"errors"
	"io/fs"
	"os"

	"scopeward/internal/savefile"
)

// editFile replaces a file, or makes it, by what edit makes of it.
func editFile(file string, edit func([]byte) ([]byte, error)) error {
	mode, err := savefile.Mode(file, 0o600)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if data, err = edit(data); err != nil {
		return err
	}
	return savefile.Write(file, data, mode)
}

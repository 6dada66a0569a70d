package strictyaml

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// ReadFile reads a file for Decode, no further than Decode takes it. Why a file
// can't be read is a problem of the file as a whole.
func ReadFile(name string) ([]byte, Problems) {
	// Opening a named pipe waits for who writes to it, perhaps for ever.
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil, Problems{{Pos{File: name}, "cannot be read: it is not a regular file"}}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, Unreadable(name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, Unreadable(name, err)
	}
	return data, nil
}

// Unreadable makes an error of the file system a problem of the file.
func Unreadable(name string, err error) Problems {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err // without the name, which stands in front already
	}
	return Problems{{Pos{File: name}, "cannot be read: " + err.Error()}}
}

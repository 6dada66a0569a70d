package config

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var reference = regexp.MustCompile(`\$\{([^}]*)\}`)

// UnmarshalText expands references; one to a variable that is not set is an
// error, for an empty issuer or secret is never what was meant.
func (t *text) UnmarshalText(b []byte) error {
	s, err := expand(string(b))
	*t = text(s)
	return errors.Join(err, checkValue(s))
}

func expand(s string) (string, error) {
	var err error
	expanded := reference.ReplaceAllStringFunc(s, func(ref string) string {
		name := ref[2 : len(ref)-1]
		value, ok := os.LookupEnv(name)
		if !ok {
			err = fmt.Errorf("environment variable %s is not set", name)
		}
		return value
	})
	return expanded, err
}

// Secret is a value that never shows: not in logs, not on /config, not in errors.
type Secret string

func (Secret) String() string       { return "(secret)" }
func (Secret) GoString() string     { return "(secret)" }
func (Secret) LogValue() slog.Value { return slog.StringValue("(secret)") }

// MarshalText shows whether there is one.
func (s Secret) MarshalText() ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	return []byte(s.String()), nil
}

// UnmarshalText expands references.
func (s *Secret) UnmarshalText(b []byte) error {
	value, err := expand(string(b))
	*s = Secret(value)
	return errors.Join(err, checkValue(value))
}

// file is the file that holds it; "" if it is written itself.
func (s Secret) file(dir string) string {
	if name, ok := strings.CutPrefix(string(s), "file:"); ok {
		return absolute(dir, name)
	}
	return ""
}

// resolve returns the secret itself, read from its file if it names one.
func (s Secret) resolve(dir string) (Secret, error) {
	name := s.file(dir)
	if name == "" {
		return s, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("the secret's file can't be read: %w", err)
	}
	if bytes.HasPrefix(b, []byte("\ufeff")) {
		return "", fmt.Errorf("the secret's file %s begins with a byte order mark, which would be part of the secret: save it as UTF-8 without BOM", strings.TrimPrefix(string(s), "file:"))
	}
	if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 {
		return "", fmt.Errorf("the secret's file %s is empty", strings.TrimPrefix(string(s), "file:"))
	}
	return Secret(b), nil
}

func absolute(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

package config

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"scopeward/internal/strictyaml"
)

var reference = regexp.MustCompile(`\$\{([^}]*)\}`)

// UnmarshalText expands references; one to a variable that is not set is an
// error, for an empty issuer or secret is never what was meant.
func (t *text) UnmarshalText(b []byte) error {
	s, err := expand(string(b))
	*t = text(s)
	return errors.Join(err, CheckValue(s))
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
	if strings.HasPrefix(value, "-----BEGIN ") { // a key in PEM form has lines
		return err
	}
	return errors.Join(err, CheckValue(value))
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

// byteSize is a number of bytes, written as GOMEMLIMIT is.
type byteSize int64

// UnmarshalText reads a number and its unit.
func (b *byteSize) UnmarshalText(written []byte) error {
	s, err := expand(string(written))
	if err != nil {
		return err
	}
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	for i, unit := range units {
		number, found := strings.CutSuffix(s, unit)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 63)
		if shift := 10 * (i + 1); err == nil && n <= 1<<(62-shift) {
			*b = byteSize(n << shift)
			return nil
		}
	}
	return errors.New("it must be a whole number of KiB, MiB, GiB or TiB, as in 64MiB")
}

// MarshalText writes it in the largest unit that needs no fraction.
func (b byteSize) MarshalText() ([]byte, error) {
	n, unit := int64(b)>>10, "KiB"
	for _, larger := range []string{"MiB", "GiB", "TiB"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n>>10, larger
	}
	return fmt.Appendf(nil, "%d%s", n, unit), nil
}

// minCache is the least cache that is worth its name.
const minCache = 1 << 20

// CheckMemory reports a cache that could not take what it is given, since the process may
// not use so much.
func (c *Config) CheckMemory(limit int64) error {
	if c.Cache.MaxBytes < limit {
		return nil
	}
	return strictyaml.Problems{{Pos: c.document.Cache.MaxBytes.Pos, Message: fmt.Sprintf(
		"cache.max_bytes is %d MiB, and the process may use %d MiB in all: lower it to about two fifths of that, or raise the memory limit (GOMEMLIMIT, or the container's)",
		c.Cache.MaxBytes>>20, limit>>20)}}
}

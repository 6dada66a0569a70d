package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// CheckValue refuses a value that somebody meant otherwise: an environment file leaves the
// quotes of its lines, or their carriage return, in the value. It does not show the value,
// which may be a secret.
func CheckValue(s string) error {
	switch {
	case s == "":
		return nil
	case strings.HasPrefix(s, "\ufeff"):
		return errors.New("the value begins with a byte order mark: save the file that it comes from as UTF-8 without BOM")
	case strings.HasSuffix(s, "\r"):
		return errors.New("the value ends in a carriage return: save the file that it comes from with Unix line ends")
	case strings.TrimSpace(s) != s:
		return errors.New("the value begins or ends in white space: remove it")
	case strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("the value holds a control character, such as a line break: remove it")
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Cf, r) }):
		return errors.New("the value holds a character that can't be seen, such as a zero-width space: type it anew")
	case strings.ContainsAny(s, "\u201c\u201d\u2018\u2019\u00ab\u00bb"):
		return errors.New("the value has typographic quotes, as word processors write them: remove them")
	case strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">"):
		return errors.New("the value is a placeholder in angle brackets: write what it stands for")
	case inQuotes(s):
		return errors.New("the value stands in quotes, which are part of it: remove them where it is set, such as in an environment file")
	}
	return nil
}

// inQuotes reports whether quotes stand around a value, and nowhere within.
func inQuotes(s string) bool {
	for _, quote := range []string{`"`, "'", "`"} {
		if len(s) > 1 && strings.HasPrefix(s, quote) && strings.HasSuffix(s, quote) && strings.Count(s, quote) == 2 {
			return true
		}
	}
	return false
}

// checkSecret refuses a client's secret that can't be one.
func checkSecret(secret string) error {
	if err := CheckValue(secret); err != nil {
		return fmt.Errorf("the secret can't be right: %w", err)
	}
	return nil
}

// keyTimes checks for how long keys count.
func (v *validator) keyTimes(j jwksEndpoint) {
	switch {
	case j.Refresh.Value <= 0:
		v.add(j.Refresh.Pos, "jwks.refresh must be longer than 0s; leave it out for 15m")
	case j.MaxStale.Value <= 0:
		v.add(j.MaxStale.Pos, "jwks.max_stale must be longer than 0s; leave it out for 24h")
	case j.MaxStale.Value < j.Refresh.Value:
		v.add(place(j.MaxStale.Pos, j.Refresh.Pos), "jwks.max_stale (%s) is shorter than jwks.refresh (%s): the keys would stop to count before they are fetched again",
			j.MaxStale.Value, j.Refresh.Value)
	}
}

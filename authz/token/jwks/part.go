package jwks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"scopeward/authz/token"
	"scopeward/authz/token/provider"
)

// part is the keys of one place when it was last good.
type part struct {
	keys []key
	data []byte
	at   time.Time // zero: never
}

// fetchPart gets the keys of one place.
func (s *KeySet) fetchPart(ctx context.Context, i int) error {
	source := s.opts.File
	var place provider.Place
	if source == "" {
		place = s.opts.Places[i]
		source = place.String()
	}
	data, err := s.read(ctx, place)
	var found parsed
	if err == nil {
		found, err = parseSet(data, s.opts.Uses)
	}
	if err != nil && ctx.Err() != nil {
		return err
	}
	s.log(slog.String("source", source), s.parts[i], data, found, err)
	if err == nil {
		s.parts[i] = part{found.keys, data, s.opts.Now()}
	}
	return err
}

// join makes a set of the parts that are not too old.
func (s *KeySet) join(now time.Time) *set {
	joined := &set{at: now}
	for _, p := range s.parts {
		if !p.at.IsZero() && since(now, p.at) <= s.opts.MaxStale {
			joined.keys = append(joined.keys, p.keys...)
		}
	}
	return joined
}

// log tells of failures, and of keys that differ from those before.
func (s *KeySet) log(source slog.Attr, old part, data []byte, found parsed, err error) {
	if err != nil {
		message := "cannot fetch the provider's keys; the last good ones stay in use"
		if old.at.IsZero() {
			message = "cannot fetch the provider's keys; its tokens get 503 until they are there"
		}
		attrs := []any{source, slog.Any("error", err)}
		if len(found.unusable) > 0 {
			attrs = append(attrs, slog.Any("unusable", found.unusable))
		}
		s.opts.Logger.Warn(message, attrs...)
		return
	}
	if !old.at.IsZero() && bytes.Equal(old.data, data) {
		return
	}
	s.opts.Logger.Info("fetched the provider's keys", source, "keys", len(found.keys))
	switch {
	case len(found.keys) == 0:
		s.opts.Logger.Warn("the provider publishes no key that verifies signatures: its tokens are refused until it does",
			source, "unusable", append(found.unusable, found.others...))
	case len(found.unusable) > 0:
		s.opts.Logger.Warn("some of the provider's keys are not used", source, "unusable", found.unusable)
	}
}

// read gets the keys from a place, or from the file.
func (s *KeySet) read(ctx context.Context, place provider.Place) ([]byte, error) {
	if s.opts.File != "" {
		return readFile(s.opts.File)
	}
	url, err := place.URL(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, errors.New("the URL of the keys is not valid")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	if s.opts.Token != nil {
		own, err := s.opts.Token()
		if err != nil {
			return nil, &token.UnavailableError{Reason: "jwks.token cannot be read", Err: err}
		}
		req.Header.Set("Authorization", "Bearer "+own)
	}
	resp, err := s.opts.Client.Do(ctx, req)
	switch {
	case err != nil:
		return nil, err
	case resp.Status == http.StatusOK:
		return resp.Body, nil
	case resp.Status == http.StatusUnauthorized || resp.Status == http.StatusForbidden:
		return nil, resp.Unavailable("the provider answers %d instead of its keys: give it a token (jwks.token) that may read them", resp.Status)
	default:
		return nil, resp.Unexpected("its keys", "jwks.url")
	}
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, provider.MaxBody+1))
	if err == nil && len(data) > provider.MaxBody {
		err = fmt.Errorf("%s is larger than 1 MiB", name)
	}
	return data, err
}

package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	patience = 10 * time.Second // bound of one request
	maxBody  = 1 << 20          // bytes of an answer
	// tolerance is how far clocks may be apart before it is said: the clock skew that
	// serve allows by default.
	tolerance = 30 * time.Second
)

// wire sends the flow's requests. It bounds each, ends them with the flow (the library
// gives the first one no context), compares the clocks, and keeps the polling going
// where the network fails.
type wire struct {
	ctx     context.Context
	base    http.RoundTripper
	polling string // the token endpoint
	skewed  func(ahead time.Duration)
	fault   func(reason string)
	looked  bool // at the provider's clock
}

// RoundTrip implements [http.RoundTripper].
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), patience)
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	res, err := w.send(req.WithContext(ctx))
	if w.polling == "" || req.URL.String() != w.polling || req.Context().Err() != nil || w.ctx.Err() != nil {
		return res, err
	}
	switch {
	case err != nil:
		w.fault(unreachable(w.polling, err).Error())
	case res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests:
		w.fault(fmt.Sprintf("the provider answers %d", res.StatusCode))
	default:
		w.fault("")
		return res, nil
	}
	return slowDown(req), nil
}

// slowDown is what stands for an answer that did not come: a client must then poll less
// often (RFC 8628 §3.5), which is what the library does when it is told to.
func slowDown(req *http.Request) *http.Response {
	return &http.Response{
		Status: "400 Bad Request", StatusCode: http.StatusBadRequest, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"error":"slow_down"}`)),
	}
}

// send makes the request and reads the whole answer, within the request's time.
func (w *wire) send(req *http.Request) (*http.Response, error) {
	sent := time.Now()
	res, err := w.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, errors.New("its answer is larger than 1 MiB")
	}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		return nil, fmt.Errorf("it redirects to %s, which is not followed: give the address that it means", quote(res.Header.Get("Location")))
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	w.compareClocks(res.Header.Get("Date"), sent)
	return res, nil
}

// compareClocks takes the provider's clock (RFC 9110 §6.6.1, in whole seconds) from its first answer.
func (w *wire) compareClocks(date string, sent time.Time) {
	theirs, err := http.ParseTime(date)
	if w.looked || err != nil {
		return
	}
	w.looked = true
	took := time.Since(sent)
	if ahead := sent.Add(took / 2).Sub(theirs).Round(time.Second); ahead.Abs() > tolerance+took {
		w.skewed(ahead)
	}
}

// quote makes text of the provider's safe to show: no controls reach the terminal.
func quote(text string) string {
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return strconv.QuoteToGraphic(text)
}

// unreachable says what net/http found, without its own words around it.
func unreachable(at string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &dns):
		return fmt.Errorf("%s can't be asked: no address is known for %s; is it spelled right?", at, dns.Name)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s did not answer within %s", at, patience)
	}
	return fmt.Errorf("%s can't be asked: %w", at, err)
}

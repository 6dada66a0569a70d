package provider_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scopeward/authz/token/provider"
	"scopeward/internal/testenv/tokentest"
)

// patient is a client whose clock a test turns, and whose outcomes it sees.
type patient struct {
	*provider.Client
	idp *tokentest.Provider
	log strings.Builder

	mu       sync.Mutex
	now      time.Time
	outcomes map[string]int
}

func newPatient(t *testing.T) *patient {
	p := &patient{idp: tokentest.New(t), now: time.Now(), outcomes: map[string]int{}}
	p.Client = provider.New(provider.Options{
		Now:    func() time.Time { p.mu.Lock(); defer p.mu.Unlock(); return p.now },
		Logger: slog.New(slog.NewTextHandler(&p.log, nil)),
		Observe: func(outcome string, _ time.Duration) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.outcomes[outcome]++
		},
	})
	return p
}

func (p *patient) advance(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

// ask asks so many times, one after the other, and gives the last error.
func (p *patient) ask(t *testing.T, times int) (err error) {
	t.Helper()
	for range times {
		_, err = get(t, p.Client, p.idp.URL+"/?"+canary)
	}
	return err
}

// TestSickProviderIsLeftAlone: whatever comes, it is asked five times, and then
// once after each pause, until it answers.
func TestSickProviderIsLeftAlone(t *testing.T) {
	for _, fault := range []tokentest.Fault{tokentest.Error, tokentest.Truncated, tokentest.Redirect} {
		p := newPatient(t)
		p.idp.Fail("", fault)
		err := p.ask(t, 100)
		if n := p.idp.Requests("/"); n != 5 {
			t.Errorf("%s: it was asked %d times, want 5", fault, n)
		}
		if wait := mustBeUnavailable(t, err).RetryAfter; !errors.Is(err, provider.ErrSkipped) || wait <= 0 || wait > time.Second {
			t.Errorf("%s: after %v, %v", fault, wait, err)
		}
		if up, reason := p.State(); up || reason == "" {
			t.Errorf("%s: State is %v, %q", fault, up, reason)
		}
		for probe := range 6 {
			p.advance(10 * time.Second)
			_ = p.ask(t, 10)
			if n := p.idp.Requests("/"); n != 5+probe+1 {
				t.Errorf("%s: after probe %d it was asked %d times", fault, probe, n)
			}
		}
		p.advance(4 * time.Second) // the pauses have grown to at least 5 s
		if err := p.ask(t, 1); !errors.Is(err, provider.ErrSkipped) {
			t.Errorf("%s: the pauses don't grow: %v", fault, err)
		}

		p.idp.Fail("", "")
		p.idp.Handle("/", func(http.ResponseWriter, *http.Request) {})
		p.advance(10 * time.Second)
		before := p.idp.Requests("/")
		if err := p.ask(t, 20); err != nil || p.idp.Requests("/") != before+20 {
			t.Errorf("%s: once it was well: %v", fault, err)
		}
		if up, reason := p.State(); !up || reason != "" {
			t.Errorf("%s: State is %v, %q", fault, up, reason)
		}
		if log := p.log.String(); strings.Count(log, "asked seldom") != 1 || strings.Count(log, "level=INFO") != 1 || strings.Contains(log, canary) {
			t.Errorf("%s: the log says:\n%s", fault, log)
		}
		if p.outcomes[provider.Answered] != 20 || p.outcomes[provider.Failed] != 11 || p.outcomes[provider.Skipped] != 95+6*9+1 {
			t.Errorf("%s: outcomes %v", fault, p.outcomes)
		}
	}
}

// TestFailuresAmongAnswersTripNothing: one user's 500 is not the end for all.
func TestFailuresAmongAnswersTripNothing(t *testing.T) {
	p := newPatient(t)
	var n atomic.Int32
	p.idp.Handle("/", func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%5 > 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	if err := p.ask(t, 50); err != nil || n.Load() != 50 {
		t.Errorf("it was asked %d times: %v", n.Load(), err)
	}
}

// TestRefusalsTripNothing: a flood of garbage must not shut out the others.
func TestRefusalsTripNothing(t *testing.T) {
	p := newPatient(t)
	p.idp.Handle("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	if err := p.ask(t, 50); err != nil || p.idp.Requests("/") != 50 {
		t.Errorf("it was asked %d times: %v", p.idp.Requests("/"), err)
	}
}

// TestRetryAfterIsHonoured: at once, to the second, and at most a minute.
func TestRetryAfterIsHonoured(t *testing.T) {
	for _, c := range []struct {
		status int
		value  string
		asked  int // how often it is asked in two minutes, at every second
	}{
		{429, "7", 18}, {503, "7", 18}, {429, "3600", 2}, {500, "7", -1}, {429, "", -1},
	} {
		p := newPatient(t)
		p.idp.Handle("/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", c.value)
			w.WriteHeader(c.status)
		})
		for range 120 {
			err := p.ask(t, 1)
			if n := p.idp.Requests("/"); n == 1 && errors.Is(err, provider.ErrSkipped) && mustBeUnavailable(t, err).RetryAfter <= 0 {
				t.Errorf("%+v: no Retry-After", c)
			}
			p.advance(time.Second)
		}
		// After five refusals in a row the pauses of the breaker count, if they are longer.
		if n := p.idp.Requests("/"); c.asked > 0 && (n > c.asked || n < min(c.asked, 12)) || c.asked < 0 && (n < 15 || n > 30) {
			t.Errorf("%+v: it was asked %d times", c, n)
		}
	}
}

// TestOneProbe: of many that ask after a pause, one is sent.
func TestOneProbe(t *testing.T) {
	p := newPatient(t)
	p.idp.Fail("", tokentest.Error)
	_ = p.ask(t, 5)
	p.idp.Fail("", "")
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	p.idp.Handle("/", func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release })
	p.advance(10 * time.Second)
	var probe sync.WaitGroup
	probe.Go(func() {
		if err := p.ask(t, 1); err != nil {
			t.Error(err)
		}
	})
	<-arrived
	for range 50 {
		if err := p.ask(t, 1); !errors.Is(err, provider.ErrSkipped) {
			t.Fatalf("beside the probe: %v", err)
		}
	}
	close(release)
	probe.Wait()
	if err := p.ask(t, 1); err != nil {
		t.Errorf("after the probe: %v", err)
	}
}

// TestIdleConnectionIsReset: a provider that drops an idle connection as a request
// goes out on it costs no answer, also of a POST that may be sent twice.
func TestIdleConnectionIsReset(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		p := newPatient(t)
		var seen sync.Map // addresses that asked before; each connection is served by a goroutine of its own
		var connections atomic.Int32
		p.idp.Handle("/", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if _, again := seen.LoadOrStore(r.RemoteAddr, true); again {
				panic(http.ErrAbortHandler)
			}
			connections.Add(1)
			_, _ = w.Write(body)
		})
		for i := range 4 {
			req, err := http.NewRequest(method, p.idp.URL+"/", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header["Idempotency-Key"] = nil
			if resp, err := p.Do(t.Context(), req); err != nil || string(resp.Body) != "body" {
				t.Errorf("%s %d: %v", method, i, err)
			}
		}
		if n := connections.Load(); n != 4 {
			t.Errorf("%s: %d connections for 4 requests", method, n)
		}
	}
}

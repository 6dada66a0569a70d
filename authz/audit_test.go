package authz

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"scopeward/authz/audit"
	"scopeward/policy"
)

func eventsOf(t *testing.T, s *Server, written *bytes.Buffer) (events []audit.Event) {
	t.Helper()
	s.audit.Close(10 * time.Second)
	for line := range bytes.Lines(written.Bytes()) {
		var e audit.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// TestSampling: of requests that are let through, a share is recorded and says so, and
// the others are counted; whatever else is to be known is always recorded.
func TestSampling(t *testing.T) {
	const asked = 8000
	s, written, _ := testServer(t, nil, func(s *Snapshot) { s.Sampling = Sample(0.25) })
	for range asked {
		check(t, s, get("/public", ""))
	}
	const denied = 100
	for range denied {
		check(t, s, get("/users", ""))
	}
	allows, denials := 0, 0
	for _, e := range eventsOf(t, s, written) {
		switch {
		case e.Success && e.Sample == 0.25:
			allows++
		case !e.Success && e.Sample == 0:
			denials++
		default:
			t.Fatalf("%+v", e)
		}
	}
	if denials != denied {
		t.Errorf("%d of %d denials were recorded", denials, denied)
	}
	if left := testutil.ToFloat64(s.metrics.sampledOut); allows+int(left) != asked {
		t.Errorf("%d allows were recorded and %v left out, of %d", allows, left, asked)
	}
	if sigma := math.Sqrt(asked * 0.25 * 0.75); math.Abs(float64(allows)-asked*0.25) > 6*sigma {
		t.Errorf("%d of %d allows were recorded, and should be a quarter", allows, asked)
	}
}

// TestSamplingKeepsWhatIsNotEnforced: without any allows, those that a rule in audit mode
// or the shadow policy would have denied are recorded.
func TestSamplingKeepsWhatIsNotEnforced(t *testing.T) {
	parse := func(rules string) *policy.Set {
		set, err := policy.Parse(policy.File{Name: "p.yaml", Data: []byte("version: 1\nrules:\n" + rules)})
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	s, written, _ := testServer(t, nil, func(s *Snapshot) {
		s.Policy = parse("  - {match: /public, public: true}\n  - {match: /shadowed, public: true}\n  - {match: /audited, deny: true, mode: audit}\n")
		s.Shadow = parse("  - {match: /public, public: true}\n  - {match: /shadowed, deny: true}\n  - {match: /audited, public: true}\n")
		s.Sampling = Sample(0)
	})
	for _, path := range []string{"/public", "/shadowed", "/audited"} {
		if statusOf(check(t, s, get(path, ""))) != 0 {
			t.Errorf("%s is denied", path)
		}
	}
	events := eventsOf(t, s, written)
	if len(events) != 2 || events[0].Shadow != "access_denied" || events[1].WouldBe != "access_denied" || events[0].Sample+events[1].Sample > 0 {
		t.Errorf("%+v", events)
	}
}

// TestAuditOff: without a writer requests are answered and counted.
func TestAuditOff(t *testing.T) {
	s, _, _ := testServer(t, nil, nil)
	s.audit = nil
	if status := statusOf(check(t, s, get("/users", ""))); status != 401 {
		t.Errorf("it answers %d", status)
	}
	if n := testutil.ToFloat64(s.metrics.decisions[codeMissingToken]); n != 1 {
		t.Errorf("%v are counted", n)
	}
}

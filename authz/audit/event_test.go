package audit

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"scopeward/internal/testenv/schematest"
)

// TestAppend: an event is what encoding/json would make of it.
func TestAppend(t *testing.T) {
	for _, event := range []Event{
		{Timestamp: time.Now().UTC(), Scopes: []string{}},
		{
			Timestamp: time.Unix(1, 5).UTC(), Action: "list \"users\"\n", Success: true, UserID: "kp_é\u2028", Scopes: []string{"a", "b"}, Code: "allow", Rule: "p.yaml:1:2",
			Method: "GET", Host: "h", Path: "/<&>", ClientIP: "::1", RequestID: "id", TraceID: "0af7651916cd43dd8448eb211c80319c", Provider: "idp", Cache: "hit", DurationMS: 0.25, Reason: "r", WouldBe: "w", Shadow: "s", Sample: 0.01,
		},
	} {
		var got Event
		if err := json.Unmarshal(event.Append(nil), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(event, got); diff != "" {
			t.Errorf("(-event +decoded):\n%s", diff)
		}
		var names, want map[string]any
		whole, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(json.Unmarshal(whole, &want), json.Unmarshal(event.Append(nil), &names)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("(-encoding/json +append):\n%s", diff)
		}
	}
}

func TestCommittedSchema(t *testing.T) {
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	schematest.Compile(t, schema)
	schematest.Committed(t, schema, "audit.schema.json", "go run ./cmd/scopeward schema audit > authz/audit/audit.schema.json")
	schematest.Described(t, schema)
}

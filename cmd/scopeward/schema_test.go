package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSchemaCommandPrintsTheCommittedFiles(t *testing.T) {
	for argument, file := range map[string]string{"policy": "../../policy/policy.schema.json", "config": "scopeward.schema.json", "audit": "../../authz/audit/audit.schema.json"} {
		var stdout, stderr strings.Builder
		if status := run([]string{"schema", argument}, &stdout, &stderr); status != 0 || stderr.Len() > 0 {
			t.Errorf("exit status %d: %s", status, stderr.String())
		}
		if diff := cmp.Diff(string(readFile(t, file)), stdout.String()); diff != "" {
			t.Errorf("-file +printed:\n%s", diff)
		}
	}
}

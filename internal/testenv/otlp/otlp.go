// Package otlp receives traces as a collector does (OTLP/HTTP), for tests.
package otlp

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// Path is where traces are sent to.
const Path = "/v1/traces"

// Receiver is a running collector. What is not OTLP fails the test.
type Receiver struct {
	*httptest.Server
	mu  sync.Mutex
	got collector.ExportTraceServiceRequest
}

// NewReceiver starts a collector for the time of a test.
func NewReceiver(t testing.TB) *Receiver {
	r := &Receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := r.receive(req); err != nil {
			t.Error(err)
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *Receiver) receive(req *http.Request) error {
	var batch collector.ExportTraceServiceRequest
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(body, &batch); err != nil || req.URL.Path != Path {
		return fmt.Errorf("not OTLP: %s %s: %v", req.Method, req.URL.Path, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	proto.Merge(&r.got, &batch)
	return nil
}

// Spans are those that have come, in any order.
func (r *Receiver) Spans() (all []*v1.Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range r.got.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			all = append(all, scope.Spans...)
		}
	}
	return all
}

// Text is all that has come, with what was said of those who sent it.
func (r *Receiver) Text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return prototext.Format(&r.got)
}

package authz

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"scopeward/authz/audit"
)

// TestBlockedReaderBlocksNoAnswer: a reader of audit and log that never reads costs
// lines, which are counted, and nothing else: no answer, and no more memory.
func TestBlockedReaderBlocksNoAnswer(t *testing.T) {
	reader, writer := io.Pipe()
	defer reader.Close()
	s, _, _ := testServer(t, nil, nil)
	lines := NewLineWriter(writer, nil)
	s.audit, s.log = lines, slog.New(slog.NewTextHandler(lines, nil))
	event := audit.Event{Path: strings.Repeat("x", 1<<20)}
	for range 20 {
		_, _ = s.audit.Write(event.Append(nil))
	}
	s.log.Error("a fault", "detail", event.Path)
	check(t, s, get("/public", ""))
	if n := lines.Dropped(); n < 10 || n > 20 {
		t.Errorf("%d lines were dropped, though nobody reads", n)
	}
	if held := cap(lines.pending); held > 16<<20 {
		t.Errorf("%d MiB wait", held>>20)
	}
	lines.Close(time.Nanosecond)
}

// failing is a full disk.
type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestFullDiskIsSaidOnce: lines that can't be written are counted, and said once.
func TestFullDiskIsSaidOnce(t *testing.T) {
	full := errors.New("no space left on device")
	var mu sync.Mutex
	said := 0
	lines := NewLineWriter(failing{full}, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if said++; !errors.Is(err, full) {
			t.Error(err)
		}
	})
	for range 3 {
		if n, err := lines.Write([]byte("one\ntwo\n")); n != 8 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		for lines.Dropped()%2 > 0 || lines.Dropped() == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	lines.Close(10 * time.Second)
	if lines.Dropped() != 6 || said != 1 {
		t.Errorf("%d lines were dropped, and it was said %d times", lines.Dropped(), said)
	}
}

// TestLinesAreWhole: lines of many writers don't mix, and none is lost.
func TestLinesAreWhole(t *testing.T) {
	var out strings.Builder // read only after Close
	lines := NewLineWriter(&out, nil)
	var writers sync.WaitGroup
	for _, line := range []string{"aaaaaaaa\n", "bbbb\n", "c\n"} {
		writers.Go(func() {
			for range 1000 {
				_, _ = lines.Write([]byte(line))
			}
		})
	}
	writers.Wait()
	lines.Close(10 * time.Second)
	if n := strings.Count(out.String(), "aaaaaaaa\n") + strings.Count(out.String(), "bbbb\n") + strings.Count(out.String(), "c\n"); n != 3000 || lines.Dropped() > 0 {
		t.Errorf("%d lines were written, %d dropped", n, lines.Dropped())
	}
}

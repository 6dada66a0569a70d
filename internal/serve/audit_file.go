package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"scopeward/internal/listen"
)

// auditFile is the file of audit.to. Whoever rotates logs renames it, and says so by
// SIGHUP: from then on events go to a new one of its name. Only one goroutine writes.
type auditFile struct {
	path  string
	log   *slog.Logger
	file  *os.File
	moved atomic.Bool // it is to be opened again
}

// openAuditFile opens the file, and makes it where it is not there.
func openAuditFile(path string, log *slog.Logger) (*auditFile, error) {
	file, err := appendTo(path)
	if err != nil {
		return nil, err
	}
	return &auditFile{path: path, log: log, file: file}, nil
}

// appendTo opens a file whose end is written to. A pipe that nobody reads is an error,
// rather than to wait for its reader.
func appendTo(path string) (*os.File, error) {
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, fmt.Errorf("the folder %s does not exist; make it (mkdir -p %[1]s; in a container, mount a volume there), or choose another path", folder)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, fmt.Errorf("%s can't be written to: %w; let the user of this process write there, or choose another path", path, listen.Cause(err))
	}
	return file, nil
}

// Write writes lines to where the file is now.
func (a *auditFile) Write(lines []byte) (int, error) {
	if a.moved.Swap(false) {
		a.reopen()
	}
	return a.file.Write(lines)
}

func (a *auditFile) reopen() {
	next, err := appendTo(a.path)
	if err != nil {
		a.log.Error("the audit file can't be opened again; events still go into the one that was open", slog.Any("error", err))
		return
	}
	if err := a.file.Close(); err != nil {
		a.log.Error("the audit file before may lack events", slog.Any("error", err))
	}
	a.file = next
	a.log.Info("the audit file was opened again", slog.String("file", a.path))
}

// reopenOnHangup has the file opened again on each SIGHUP until ctx ends; wake has it
// written to soon. What reads the configuration again on SIGHUP takes its time, in which
// the file may already be compressed.
func (a *auditFile) reopenOnHangup(ctx context.Context, wake func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			a.moved.Store(true)
			wake()
		}
	}
}

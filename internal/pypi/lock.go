package pypi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// lock takes an exclusive flock(2), which the kernel gives back if its holder dies. It waits for another process, and says so.
func lock(ctx context.Context, program, name string, progress io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock for the install of %s: %w", program, err)
	}
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock for the install of %s: %s: %w", program, name, err)
		}
		if !told {
			fmt.Fprintf(progress, "%s: waiting for another process that installs it ...\n", program)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-poll.C:
		}
	}
}

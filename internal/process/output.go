package process

import (
	"bytes"
	"sync"
)

// Output is what a process, or a server in a goroutine, has written so far: it may be read
// meanwhile. The zero value is empty.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

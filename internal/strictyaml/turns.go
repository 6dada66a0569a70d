package strictyaml

import (
	"io"
	"runtime"
)

// GiveTurn lets other goroutines run, at every sixteenth i. Large files are read while
// requests are decided: those that the runtime has put behind the reader would wait for the
// end of its time slice, of 10 ms or more. (To do it each time would cost a tenth of the work.)
func GiveTurn(i int) {
	if i%16 == 15 {
		runtime.Gosched()
	}
}

// calmReader gives data a little at a time, and others a turn between.
type calmReader struct{ data []byte }

func (r *calmReader) Read(p []byte) (n int, err error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	runtime.Gosched()
	n = copy(p[:min(len(p), 2<<10)], r.data)
	r.data = r.data[n:]
	return n, nil
}

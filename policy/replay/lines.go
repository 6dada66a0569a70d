package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"regexp"
	"strings"
	"unicode"
)

// maxLine bounds a line, in bytes. Envoy's own limit for all headers of a
// request is 60 KiB.
const maxLine = 1 << 20

var errLong = errors.New("the line is longer than 1 MiB")

// lines gives a log line by line.
type lines struct {
	stored *counter
	reader *bufio.Reader
}

type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func newLines(log io.Reader) (*lines, error) {
	l := &lines{stored: &counter{Reader: log}}
	first := bufio.NewReaderSize(l.stored, 64<<10)
	magic, err := first.Peek(2)
	if err != nil && err != io.EOF {
		return nil, err
	}
	plain := io.Reader(first)
	if bytes.Equal(magic, []byte{0x1f, 0x8b}) { // RFC 1952 §2.3.1
		if plain, err = gzip.NewReader(first); err != nil {
			return nil, err
		}
	}
	l.reader = bufio.NewReaderSize(plain, maxLine)
	return l, nil
}

// bytes gives how much of the stored log has been read.
func (l *lines) bytes() int64 { return l.stored.n }

// next gives a line without its end, valid until the next call. Of a line that
// is too long it gives the beginning, and errLong.
func (l *lines) next() ([]byte, error) {
	line, err := l.reader.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		beginning := bytes.Clone(line[:256])
		for err == bufio.ErrBufferFull {
			_, err = l.reader.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		return beginning, errLong
	case err == io.EOF && len(line) > 0:
		err = nil
	case err != nil:
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// secret finds what looks like a token, or is called so.
var secret = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)*|(?i)(bearer|token|authorization|secret|password|code)(["': =]+)[^\s"'&,}]+`)

// excerpt shows the beginning of a line.
func excerpt(line []byte) string {
	text := strings.ToValidUTF8(string(line[:min(len(line), 512)]), "?")
	return shorten(printable(secret.ReplaceAllString(text, "[hidden]")), 120)
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

func shorten(s string, limit int) string {
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return s
}

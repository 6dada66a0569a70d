package transport

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// head is a header block, as far as it has been read.
type head struct {
	limit int // of size

	method, scheme, path, authority string
	contentType, timeout            string
	traceparent                     string
	length                          int64 // content-length, -1 without
	special                         bool  // it has what only the other server understands

	fields    []hpack.HeaderField // but for pseudo-headers
	size      int                 // as RFC 9113 section 6.5.2 counts it
	malformed bool                // RFC 9113 section 8.1.1
}

// reset makes it ready for the next block, and keeps its memory.
func (h *head) reset() {
	clear(h.fields)
	*h = head{limit: h.limit, length: -1, fields: h.fields[:0]}
}

func (h *head) tooLarge() bool { return h.size > h.limit }

// add takes a field. It is the decoder's emit function.
func (h *head) add(f hpack.HeaderField) {
	h.size += int(f.Size())
	if h.tooLarge() || h.malformed {
		return
	}
	if !httpguts.ValidHeaderFieldValue(f.Value) {
		h.malformed = true
		return
	}
	if strings.HasPrefix(f.Name, ":") {
		h.addPseudo(f)
		return
	}
	h.fields = append(h.fields, f)
	switch f.Name {
	case "content-type":
		h.special = h.special || h.contentType != ""
		h.contentType = f.Value
	case "te":
		h.malformed = f.Value != "trailers"
	case "grpc-timeout":
		h.timeout = f.Value
	case "traceparent":
		h.special = h.special || h.traceparent != ""
		h.traceparent = f.Value
	case "grpc-encoding":
		h.special = h.special || f.Value != "identity"
	case "content-length":
		h.addLength(f.Value)
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		h.malformed = true
	default:
		h.malformed = !validName(f.Name)
		h.special = h.special || strings.HasSuffix(f.Name, "-bin")
	}
}

func (h *head) addPseudo(f hpack.HeaderField) {
	to := (*string)(nil)
	switch f.Name {
	case ":method":
		to = &h.method
	case ":scheme":
		to = &h.scheme
	case ":path":
		to = &h.path
	case ":authority":
		to = &h.authority
	}
	if to == nil || *to != "" || f.Value == "" && f.Name != ":authority" || len(h.fields) > 0 {
		h.malformed = true // unknown, twice, empty or late
		return
	}
	*to = f.Value
}

func (h *head) addLength(value string) {
	n, err := strconv.ParseUint(value, 10, 62)
	if err != nil || h.length >= 0 && h.length != int64(n) {
		h.malformed = true
		return
	}
	h.length = int64(n)
}

// validName accepts a field name (RFC 9113 section 8.2.1).
func validName(name string) bool {
	return httpguts.ValidHeaderFieldName(name) && strings.ToLower(name) == name
}

// valid reports whether the block is that of a request.
func (h *head) valid() bool {
	if h.malformed || h.method == "" {
		return false
	}
	if h.method == "CONNECT" {
		return h.scheme == "" && h.path == "" && h.authority != ""
	}
	return h.scheme != "" && (strings.HasPrefix(h.path, "/") || h.path == "*" && h.method == "OPTIONS")
}

// hasPseudo reports whether there is any pseudo-header: trailers have none.
func (h *head) hasPseudo() bool {
	return h.method != "" || h.scheme != "" || h.path != "" || h.authority != ""
}

var errTimeout = errors.New("malformed grpc-timeout")

// parseTimeout reads the header grpc-timeout: at most eight digits and a unit.
func parseTimeout(s string) (time.Duration, error) {
	if len(s) < 2 || len(s) > 9 {
		return 0, errTimeout
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, errTimeout
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if err != nil {
		return 0, errTimeout
	}
	const longest = 290 * 365 * 24 * time.Hour
	if time.Duration(n) > longest/unit {
		return longest, nil
	}
	return time.Duration(n) * unit, nil
}

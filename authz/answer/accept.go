package answer

import (
	"strconv"
	"strings"
)

// prefer gives the entry whose media type a client prefers to the others and to that of
// fallback, which it gets otherwise; nil if there is none. Who prefers nothing, as by */*,
// gets the fallback.
func prefer(offered []*Entry, fallback, accept string) (preferred *Entry) {
	most := qualityOf(accept, fallback)
	for _, e := range offered {
		q := qualityOf(accept, e.Accept)
		switch {
		case q.value == 0 || q.value < most.value:
		case q.value > most.value:
			preferred, most = e, q
		case preferred == nil && e.Accept == fallback && q.named: // the earlier of two of one type
			preferred = e
		}
	}
	return preferred
}

// quality is how much a client wants a media type.
type quality struct {
	value int  // in thousandths
	named bool // by a range that is more than */*
}

// qualityOf reads an Accept header (RFC 9110 section 12.5.1): the most specific range that
// takes a media type counts. What is malformed doesn't count. Without a header, all is
// welcome.
func qualityOf(accept, mediaType string) quality {
	if strings.TrimSpace(accept) == "" {
		return quality{value: 1000}
	}
	var found quality
	best := 0
	for element := range elements(accept, ',') {
		specific, value := mediaRange(element, mediaType)
		if specific > best || specific == best && specific > 0 && value > found.value {
			best, found = specific, quality{value, specific > 1}
		}
	}
	return found
}

// mediaRange says how specifically an element of Accept takes a media type, 0 if it
// doesn't, and its quality.
func mediaRange(element, mediaType string) (specific, value int) {
	kind, _, _ := strings.Cut(mediaType, "/")
	first := true
	value = 1000
	for part := range elements(element, ';') {
		part = strings.ToLower(strings.Trim(part, " \t"))
		if first {
			first = false
			switch part {
			case mediaType:
				specific = 3
			case kind + "/*":
				specific = 2
			case "*/*":
				specific = 1
			default:
				return 0, 0
			}
			continue
		}
		name, text, _ := strings.Cut(part, "=")
		switch name = strings.TrimRight(name, " \t"); name {
		case "q":
			var ok bool
			if value, ok = qvalue(strings.TrimLeft(text, " \t")); !ok {
				return 0, 0
			}
			return specific, value // what follows are extensions, by the older RFC 7231
		case "", "charset":
		default:
			return 0, 0 // it takes another representation than those that there are
		}
	}
	return specific, value
}

// qvalue reads a weight (RFC 9110 section 12.4.2), in thousandths.
func qvalue(s string) (value int, ok bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	if whole != "0" && whole != "1" || len(fraction) > 3 {
		return 0, false
	}
	thousandths, err := strconv.ParseUint((fraction + "000")[:3], 10, 16)
	if err != nil {
		return 0, false
	}
	value = int(thousandths)
	if whole == "1" {
		value += 1000
	}
	return value, value <= 1000
}

// elements splits a header at a separator outside of quoted strings.
func elements(s string, separator byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		start, quoted := 0, false
		for i := 0; i < len(s); i++ {
			switch {
			case quoted && s[i] == '\\':
				i++
			case s[i] == '"':
				quoted = !quoted
			case s[i] == separator && !quoted:
				if !yield(s[start:i]) {
					return
				}
				start = i + 1
			}
		}
		yield(s[start:])
	}
}

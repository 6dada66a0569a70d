package wire

import (
	"errors"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// errWire is any violation of the wire format.
var errWire = errors.New("the CheckRequest can't be decoded: it breaks the protobuf wire format, or has text that is not UTF-8")

// field is one field of a message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	text   string // what a protowire.BytesType holds; numbers are of no account
}

// next splits the first field off a message.
func next(wire string) (f field, rest string, err error) {
	tag, n := consumeVarint(wire)
	if number := tag >> 3; n < 0 || number < uint64(protowire.MinValidNumber) || number > uint64(protowire.MaxValidNumber) {
		return f, "", errWire
	}
	f.number, f.kind = protowire.DecodeTag(tag)
	wire = wire[n:]
	var size int
	switch f.kind {
	case protowire.BytesType:
		length, n := consumeVarint(wire)
		if n < 0 || length > uint64(len(wire)-n) {
			return f, "", errWire
		}
		size = n + int(length)
		f.text = wire[n:size]
	case protowire.VarintType:
		_, size = consumeVarint(wire)
	case protowire.Fixed32Type:
		size = 4
	case protowire.Fixed64Type:
		size = 8
	default: // a group, which nobody uses any more, or nonsense
		size = protowire.ConsumeFieldValue(f.number, f.kind, []byte(wire))
	}
	if size < 0 || size > len(wire) {
		return f, "", errWire
	}
	return f, wire[size:], nil
}

func consumeVarint(s string) (v uint64, n int) {
	for i := 0; i < len(s) && i < 10; i++ {
		c := s[i]
		if i == 9 && c > 1 {
			return 0, -1
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, -1
}

// fields calls each for the fields of a message that hold bytes: the others are
// of no account, whatever their number.
func fields(wire string, each func(number protowire.Number, text string) error) error {
	for wire != "" {
		f, rest, err := next(wire)
		if err != nil {
			return err
		}
		if f.kind == protowire.BytesType {
			if err := each(f.number, f.text); err != nil {
				return err
			}
		}
		wire = rest
	}
	return nil
}

// text checks what proto3 asks of a string field.
func text(to *string, s string) error {
	if !utf8.ValidString(s) {
		return errWire
	}
	*to = s
	return nil
}

// generated leaves a message that Envoy seldom sends to the generated code; what
// is in it is of no account, but it must be well formed.
func generated(m proto.Message, wire string) error {
	if wire == "" {
		return nil
	}
	return proto.Unmarshal([]byte(wire), m)
}

// appendMessage writes a message of any size: the room for its length is made once it
// is known.
func appendMessage(b []byte, number protowire.Number, content func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, number, protowire.BytesType)
	start := len(b)
	b = content(append(b, 0))
	length := len(b) - start - 1
	for range protowire.SizeVarint(uint64(length)) - 1 {
		b = append(b, 0)
	}
	copy(b[start+protowire.SizeVarint(uint64(length)):], b[start+1:start+1+length])
	protowire.AppendVarint(b[:start], uint64(length))
	return b
}

func appendString(b []byte, number protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), s)
}

func appendVarint(b []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}

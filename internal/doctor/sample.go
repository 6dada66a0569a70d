package doctor

import (
	"regexp/syntax"
	"strings"
)

// sample gives a text that a regular expression takes, with what a wildcard in it
// stands for; "" if there is none that is easy to find.
func sample(pattern, wildcard string) string {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	var b strings.Builder
	writeSample(&b, parsed, wildcard)
	return b.String()
}

func writeSample(b *strings.Builder, re *syntax.Regexp, wildcard string) {
	switch re.Op {
	case syntax.OpLiteral:
		text := string(re.Rune)
		if re.Flags&syntax.FoldCase != 0 {
			text = strings.ToLower(text)
		}
		b.WriteString(text)
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			b.WriteRune(inClass(re.Rune))
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('x')
	case syntax.OpStar, syntax.OpPlus:
		if isWide(re.Sub[0]) {
			b.WriteString(wildcard)
		} else if re.Op == syntax.OpPlus {
			writeSample(b, re.Sub[0], wildcard)
		}
	case syntax.OpRepeat:
		for range re.Min {
			writeSample(b, re.Sub[0], wildcard)
		}
	case syntax.OpCapture, syntax.OpQuest:
		writeSample(b, re.Sub[0], wildcard)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			writeSample(b, sub, wildcard)
		}
	case syntax.OpAlternate:
		writeSample(b, re.Sub[0], wildcard)
	}
}

// isWide reports whether an expression takes a dot: what it repeats may then be a
// segment that leads upwards.
func isWide(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune); i += 2 {
			if re.Rune[i] <= '.' && '.' <= re.Rune[i+1] {
				return true
			}
		}
	case syntax.OpCapture:
		return isWide(re.Sub[0])
	}
	return false
}

// inClass gives a character of a class, a letter or digit if it has one.
func inClass(ranges []rune) rune {
	for _, wanted := range "ax0-_" {
		for i := 0; i+1 < len(ranges); i += 2 {
			if ranges[i] <= wanted && wanted <= ranges[i+1] {
				return wanted
			}
		}
	}
	return ranges[0]
}

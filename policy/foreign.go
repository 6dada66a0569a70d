package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"scopeward/internal/strictyaml"
)

// The patterns of other programs have wildcards that are text here: a rule that
// denies /admin/* would deny one path that nobody asks for. Such a pattern is an error.
// Who means the text escapes it, as in /admin/%2A.
var (
	// foreignSigns tell that a segment is written for another program. Hardly any path
	// has them unescaped.
	foreignSigns = regexp.MustCompile("[*<>\\[\\](){}|^\\\\\"`]" + // *, <id>, [id], [0-9]+, (a|b), {id:int}, \d+
		`|(^|[-.@~_]):[A-Za-z_]` + // :id, but not items:search
		`|^\$[A-Za-z_]|\$$` + // $id, and the end of a regular expression
		`|^\+$|\.\+|^\.\.\.$|,$`)

	wildcard = regexp.MustCompile(`^\{(\$|[\pL_][\pL\p{Nd}_]*(\.\.\.)?)\}$`)

	// foreignName finds how a foreign wildcard is called.
	foreignName = regexp.MustCompile(`(?:\{+ ?[*+]*|\[+(?:\.\.\.)?|^:|^\$|^\*+|<(?:\w+:)?)([A-Za-z_]\w*)(?:[\]}>:?*+= .]|$)`)

	// foreignRest are the wildcards for several segments.
	foreignRest = regexp.MustCompile(`^\*|\*\*|\.\.\.|^\.[*+]|\{[*+]|^[:{]\w+[*+]\}?$|\.[*+]\)?\}$|<path:|:path\}`)

	foreignChoice   = regexp.MustCompile(`^\(?(?:\?:)?([\w-]+(?:\|[\w-]+)+)\)?$`)
	foreignOptional = regexp.MustCompile(`^[:{\[(][^?]*\?\}?$`)
)

const foreignCharacters = "*<>[](){}|^\\\"`:$+,"

// EscapeLiteral writes a segment of a path so that a pattern takes it for the text that
// it is, also where another program would find a wildcard in it.
func EscapeLiteral(segment string) string {
	if !foreignSigns.MatchString(segment) {
		return segment
	}
	var b strings.Builder
	for i := range len(segment) {
		if strings.IndexByte(foreignCharacters, segment[i]) >= 0 {
			fmt.Fprintf(&b, "%%%02X", segment[i])
		} else {
			b.WriteByte(segment[i])
		}
	}
	return b.String()
}

// checkForeign refuses a pattern that another program would read otherwise.
func checkForeign(text string) error {
	if at := strings.IndexFunc(text, isInvisible); at >= 0 {
		r := []rune(text[at:])[0]
		return fmt.Errorf("pattern %q has the invisible character U+%04X: remove it, or escape it if it is meant", text, r)
	}
	method, rest := "", text
	if at := strings.LastIndexByte(text, ' '); at >= 0 {
		method, rest = text[:at], text[at+1:]
	}
	methods, why := meantMethods(method)
	paths, segment := meantPaths(rest)
	switch {
	case why != "":
	case strings.Contains(segment, "{"):
		why = fmt.Sprintf("%q is no wildcard: one is a whole segment, {name}, or {name...} for the rest", segment)
	case segment != "":
		why = fmt.Sprintf("%q is text here, and no wildcard", segment)
	default:
		return nil
	}
	message := fmt.Sprintf("pattern %q: %s", text, why) + suggestion(methods, paths)
	if escaped := EscapeLiteral(segment); escaped != segment && segment != "^" && loads("/"+escaped) {
		message += fmt.Sprintf(" (the text itself is written %q)", escaped)
	}
	return fmt.Errorf("%s", message)
}

func isInvisible(r rune) bool {
	return r != ' ' && r != '\t' && (unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf))
}

// suggestion gives the end of a message: patterns that load, if there are some.
func suggestion(methods, paths []string) string {
	var patterns []string
	for _, method := range methods {
		for _, path := range paths {
			pattern := strings.TrimPrefix(method+" "+path, " ")
			if !loads(pattern) || len(patterns) == 8 {
				return ""
			}
			patterns = append(patterns, strconv.Quote(pattern))
		}
	}
	switch len(patterns) {
	case 0:
		return ""
	case 1:
		return "; did you mean " + patterns[0] + "?"
	default:
		return "; did you mean [" + strings.Join(patterns, ", ") + "]?"
	}
}

func loads(pattern string) bool {
	_, err := parsePattern(strictyaml.Located[string]{Value: pattern})
	return err == nil
}

// meantMethods gives the methods that were likely meant, and what is wrong with what is
// written, if something is.
func meantMethods(written string) (methods []string, why string) {
	switch upper := strings.ToUpper(written); upper {
	case "":
		return []string{""}, ""
	case "*", "ANY", "ALL":
		return []string{""}, fmt.Sprintf("%s is not a method: a pattern without a method is for all", written)
	case "PREFIX", "EXACT", "REGEX", "PATH", "ROUTE", "URI", "METHOD", "METHODS":
		return []string{""}, fmt.Sprintf("%s is a word of other programs, and no method: a pattern without a method is for all", written)
	}
	words := strings.FieldsFunc(written, func(r rune) bool { return !unicode.IsLetter(r) })
	if len(words) < 2 || slices.ContainsFunc(words, func(word string) bool { return !isKnownMethod(strings.ToUpper(word)) }) {
		return []string{written}, ""
	}
	for _, word := range words {
		methods = append(methods, strings.ToUpper(word))
	}
	return methods, fmt.Sprintf("%q is not a method: for several methods write a list of patterns", written)
}

// meantPaths gives the host and path that were likely meant, several for what is a
// choice, and the first segment that is foreign, if one is.
func meantPaths(written string) (paths []string, foreign string) {
	host, path, ok := strings.Cut(strings.TrimPrefix(written, "^"), "/")
	if query := strings.IndexByte(path, '?'); query >= 0 && !strings.HasPrefix(path[query+1:], "}") && strings.Trim(path[query+1:], "/") != "" {
		return []string{written}, ""
	}
	if !ok {
		return []string{written}, ""
	}
	if strings.HasPrefix(written, "^") {
		foreign = "^"
	}
	paths = []string{host}
	segments, taken := strings.Split(path, "/"), map[string]bool{}
	for _, segment := range segments {
		if wildcard.MatchString(segment) {
			taken[strings.Trim(segment, "{.}")] = true
		}
	}
	for i, segment := range segments {
		choice := []string{"/" + segment}
		if isForeign(segment) {
			choice = meantSegments(segment, i == len(segments)-1, taken)
			if foreign == "" {
				foreign = segment
			}
		}
		var next []string
		for _, p := range paths {
			for _, c := range choice {
				next = append(next, p+c)
			}
		}
		paths = next
	}
	return paths, foreign
}

func isForeign(segment string) bool {
	return !wildcard.MatchString(segment) && (foreignSigns.MatchString(segment) || foreignOptional.MatchString(segment))
}

// meantSegments gives what a foreign segment likely stands for, each with its slash.
func meantSegments(segment string, last bool, taken map[string]bool) []string {
	if choice := foreignChoice.FindStringSubmatch(segment); choice != nil {
		return strings.Split("/"+strings.ReplaceAll(choice[1], "|", "|/"), "|")
	}
	for _, end := range []string{"$", ","} {
		if plain, ok := strings.CutSuffix(segment, end); ok && last && plain == "" {
			return []string{"/{$}"}
		} else if ok && last && !isForeign(plain) {
			return []string{"/" + plain}
		}
	}
	rest := last && foreignRest.MatchString(segment)
	name := "name"
	if rest {
		name = "path"
	}
	if found := foreignName.FindStringSubmatch(segment); found != nil {
		name = found[1]
	} else if dashed := strings.ReplaceAll(segment, "-", "_"); wildcard.MatchString(dashed) {
		name = strings.Trim(dashed, "{}.")
	}
	for base, n := name, 2; taken[name]; n++ {
		name = base + strconv.Itoa(n)
	}
	taken[name] = true
	switch {
	case rest:
		return []string{"/{" + name + "...}"}
	case last && foreignOptional.MatchString(segment):
		return []string{"", "/{" + name + "}"}
	default:
		return []string{"/{" + name + "}"}
	}
}

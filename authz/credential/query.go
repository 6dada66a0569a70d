package credential

import (
	"errors"
	"net/url"
	"strings"

	"scopeward/authz/wire"
)

// parameterSeparators end a parameter for some readers, as & does for all.
const parameterSeparators = ";"

var errEscape = errors.New("has a value that isn't percent-encoded well")

func queryOf(target string) string {
	_, query, _ := strings.Cut(target, "?")
	return query
}

// findParameter gives the decoded value of a parameter, "" if there is none.
func findParameter(query, name string) (value string, err error) {
	found := false
	for pair := range strings.SplitSeq(query, "&") {
		key, v, _ := strings.Cut(pair, "=")
		if unescape(key) != name {
			if compare(pair, name, parameterSeparators) == disguised {
				return "", errDisguised
			}
			continue
		}
		v, err := url.QueryUnescape(v)
		if err != nil {
			return "", errEscape
		}
		if found && v != value {
			return "", errTwice
		}
		value, found = v, true
	}
	return value, nil
}

// hideParameters leaves the other parameters as they came. Envoy's own
// query_parameters_to_remove would not: it compares names without decoding, and sorts
// the others.
func hideParameters(p *Places, r *wire.Request, to *wire.Response) {
	if target := p.Target(r); target != r.Path {
		to.Set = append(to.Set, wire.Header{Name: ":path", Value: target})
	}
}

func (p *Places) withoutParameters(query string) (kept string, changed bool) {
	var rest []string
	for pair := range strings.SplitSeq(query, "&") {
		if p.nearest(Query, pair, parameterSeparators) != other {
			changed = true
			continue
		}
		rest = append(rest, pair)
	}
	return strings.Join(rest, "&"), changed
}

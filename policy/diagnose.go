package policy

import (
	"fmt"
	"slices"
	"strings"

	"scopeward/internal/strictyaml"
)

func unknownName(name string, wildcards []string) string {
	if name == "path" {
		return "unknown name path: write path.NAME for a wildcard of the pattern, or request.path"
	}
	known := slices.Clone(wildcards)
	if strings.HasPrefix(name, "path.") || strings.HasPrefix(name, "host.") {
		if len(known) == 0 {
			return fmt.Sprintf("unknown name %s: the patterns of the rule have no wildcard in common", name)
		}
		return fmt.Sprintf("unknown name %s: the patterns of the rule have in common: %s", name, strings.Join(known, ", "))
	}
	for variable := range variables() {
		known = append(known, variable)
	}
	slices.Sort(known)
	// Only the last part can be a slip: the first decides what it is about.
	prefix, last := name[:strings.LastIndexByte(name, '.')+1], name[strings.LastIndexByte(name, '.')+1:]
	var parts []string
	for _, k := range known {
		if part, ok := strings.CutPrefix(k, prefix); ok && prefix != "" {
			parts = append(parts, part)
		}
	}
	if near := strictyaml.Nearest(last, parts); near != "" {
		return fmt.Sprintf("unknown name %s; did you mean %s%s?", name, prefix, near)
	}
	if claim, ok := strings.CutPrefix(name, "identity."); ok {
		return fmt.Sprintf("unknown name %s; a claim of the token is identity.claims.%s", name, claim)
	}
	if !strings.Contains(name, ".") && name != "identity" && name != "request" {
		return fmt.Sprintf("unknown name %s; if text is meant, write it in quotes: \"%[1]s\"", name)
	}
	return fmt.Sprintf("unknown name %s; known are %s", name, strings.Join(known, ", "))
}

package strictyaml

import "strings"

// Nearest gives the known word that someone who wrote word may have meant, ""
// if none is near: one that differs by a slip, else one that starts like it,
// else one that differs in up to a third of it.
func Nearest(word string, known []string) string {
	if len(word) > 100 {
		return ""
	}
	best, bestDistance := "", max(1, len(word)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if bestDistance <= 1 || len(word) < 3 {
		return best
	}
	for _, k := range known {
		if strings.HasPrefix(k, word) || len(k) >= 3 && strings.HasPrefix(word, k) {
			return k
		}
	}
	return best
}

// distance counts the insertions, deletions, substitutions and swaps of
// neighbours that make a into b (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

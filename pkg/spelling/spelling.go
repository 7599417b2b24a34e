// Package spelling finds what a misspelt word was meant to be, for error messages.
package spelling

import (
	"fmt"
	"strings"
)

// longest is how many bytes a word may have to be compared; PostgreSQL's names have no more.
const longest = 63

// Mend returns `did you mean "timeout"?`, or "" if no known word is near: at most two
// letters differ, and no more than half of the word. Case is ignored; of words that are
// equally near it takes the first.
func Mend(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if len(k) > longest || len(word) > longest {
			continue
		}
		if d := Distance(strings.ToLower(word), strings.ToLower(k)); d < least && 2*d <= max(len(word), len(k)) {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// Distance counts the bytes to insert, delete or substitute to make b of a (Levenshtein's
// distance).
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := previous
			if a[i] != b[j] {
				cost = 1 + min(previous, row[j], row[j+1])
			}
			previous, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

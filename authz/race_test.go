//go:build race

package authz

// raceEnabled: the race detector keeps sync.Pool from doing its work.
const raceEnabled = true

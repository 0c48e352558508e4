//go:build race

package memcache_test

// underRace says that the race detector runs, with which all takes several times as long.
const underRace = true

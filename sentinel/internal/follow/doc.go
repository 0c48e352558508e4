// Package follow decides who the primary of one name is. It is pure: a State has no clock, no
// timers, no goroutines, no locks and no connections. Step takes one event and the time, and
// returns the effects; its caller carries them out and posts their results. The same calls have the
// same results, so that histories can be explored from a seed.
//
// A State is in one Phase. Transitions lists every way between two of them, and why it is taken; no
// other is.
package follow

//go:generate go test -run TestTheDocsHaveTheDiagram -write .

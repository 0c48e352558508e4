// Package flight shares loads among callers that ask for the same key at the same time.
//
// A [Table] has at most one load for each key that can be joined: a [Flight]. A flight belongs to
// all who wait for it, each of whom may leave when their own context ends. When the last has left
// it goes on for a while, as its value is wanted: the next caller joins it. A write fences the
// flights of its key: they are not joined any more, and what they bring is not kept. Several keys
// that are loaded together are a [Batch], of which each is a flight that others can join.
//
// A flight is the context of its load. So nothing is made for a Getter that does not look at it,
// and no tree of contexts has a lock that all flights share.
package flight

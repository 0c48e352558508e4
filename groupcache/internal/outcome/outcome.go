// Package outcome has how a Get ends: with a value, or with one of a few errors.
package outcome

import "errors"

// Value is a value of a key.
type Value struct {
	Bytes  string
	Expire int64 // Unix nanoseconds; 0: never
}

// Filling is what a Getter has given.
type Filling struct {
	Value Value
	Set   bool // there is a value
}

// The errors of package groupcache, where they are described.
var (
	ErrClosed          = errors.New("groupcache: the instance is closed")
	ErrPeerUnavailable = errors.New("groupcache: peer unavailable")
	ErrValueTooLarge   = errors.New("groupcache: the value is larger than Options.MaxValueSize")
	ErrGetterPanicked  = errors.New("groupcache: the getter panicked")
)

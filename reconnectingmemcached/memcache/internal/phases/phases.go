// Package phases decides, by how a server stands, where its keys are read and what becomes of their
// copies elsewhere.
package phases

import "github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"

// CopyHolders is how many servers may have copies of a key.
const CopyHolders = 2

// Phase is how a server stands, as one process sees it. It decides where its keys are read, and
// what a write does with their copies.
type Phase uint8

// The phases.
const (
	Up         Phase = iota // there are no copies
	WithCopies              // up, but there may be copies
	Linger                  // up, but other processes may not have deleted there yet the writes it missed from them
	Down
)

// source is where a key is read.
type source uint8

// Where a key is read.
const (
	atOwner source = iota
	AtOwnerThenCopy
	atCopy
)

// Source is where a key of a server in this phase is read.
func (p Phase) Source() source {
	switch p {
	case Down, Linger:
		return atCopy
	case WithCopies:
		return AtOwnerThenCopy
	default:
		return atOwner
	}
}

// copying says how a write treats the copies of its key.
type copying uint8

// The ways to treat copies.
const (
	LeaveCopies copying = iota
	deleteCopies
	storeCopy
)

// Copying is none for locks and counters while their owner is down, as they are refused then. Once
// it is back they must not be hidden behind a copy of a former value.
func (p Phase) Copying(o protocol.Op) copying {
	switch {
	case p == Up || o.Reads() || o == protocol.OpTouch:
		return LeaveCopies
	case o == protocol.OpSet && p != WithCopies:
		return storeCopy
	case p == Down && !o.LeavesOldValue():
		return LeaveCopies
	}
	return deleteCopies
}

// deed is an action on a copy at one of its holders.
type deed uint8

// The deeds.
const (
	DeedNone deed = iota
	DeedDelete
	DeedStore
	DeedLog // to delete it before that server is used again
)

// Deeds are those at the holders of a copy, of which some are up. A new copy goes to the first of
// them, and the other must not keep an older one.
func (c copying) Deeds(up [CopyHolders]bool) (todo [CopyHolders]deed) {
	if c == LeaveCopies {
		return todo
	}
	stored := c != storeCopy
	for i := range todo {
		switch {
		case !up[i]:
			todo[i] = DeedLog
		case !stored:
			todo[i], stored = DeedStore, true
		default:
			todo[i] = DeedDelete
		}
	}
	return todo
}

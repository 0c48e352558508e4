// Package protocol writes the requests of the memcached text protocol and reads its replies
// (https://github.com/memcached/memcached/blob/master/doc/protocol.txt).
package protocol

import (
	"strconv"

	gomemcache "github.com/bradfitz/gomemcache/memcache"
)

// Op is one kind of request.
type Op uint8

// The operations.
const (
	OpGet Op = iota
	OpGetMulti
	OpGetAndTouch
	OpHandOver // the client's own: a Get that brings the expiration, too
	OpSet
	OpAdd
	OpReplace
	OpAppend
	OpPrepend
	OpCompareAndSwap
	OpDelete
	OpTouch
	OpIncrement
	OpDecrement
	OpPing
	OpFlush
	OpCount
)

// Verb is the operation's name in metrics, errors and logs.
func (o Op) Verb() string { return opNames[o].verb }

// Word is its command on the wire.
func (o Op) Word() string { return opNames[o].word }

// opNames is a constant table.
//
//nolint:gochecknoglobals // never written; an array cannot be a constant.
var opNames = [OpCount]struct{ verb, word string }{
	OpGet:            {"get", "gets"},
	OpGetMulti:       {"get_multi", "gets"},
	OpGetAndTouch:    {"get_and_touch", "gat"},
	OpHandOver:       {"hand_over", "mg"},
	OpSet:            {"set", "set"},
	OpAdd:            {"add", "add"},
	OpReplace:        {"replace", "replace"},
	OpAppend:         {"append", "append"},
	OpPrepend:        {"prepend", "prepend"},
	OpCompareAndSwap: {"compare_and_swap", "cas"},
	OpDelete:         {"delete", "delete"},
	OpTouch:          {"touch", "touch"},
	OpIncrement:      {"increment", "incr"},
	OpDecrement:      {"decrement", "decr"},
	OpPing:           {"ping", "version"},
	OpFlush:          {"flush_all", "flush_all"},
}

// Reads tells the operations that end as a miss while a server is down.
func (o Op) Reads() bool { return o <= OpHandOver }

// Stores tells the operations that carry a value.
func (o Op) Stores() bool { return o >= OpSet && o <= OpCompareAndSwap }

// Rare tells the operations that a proxy may not know.
func (o Op) Rare() bool { return o > OpGetMulti && o != OpSet && o != OpDelete }

// Repeatable tells the operations that may be sent again although the first try may have been
// carried out.
func (o Op) Repeatable() bool {
	return o.Reads() || o == OpTouch || o == OpPing
}

// LeavesOldValue tells the operations whose loss leaves a value on the server that the application
// meant to be gone. Add, Increment, Decrement and Touch are not among them: deleting their keys
// later would release locks and reset counters.
func (o Op) LeavesOldValue() bool {
	switch o {
	case OpSet, OpReplace, OpAppend, OpPrepend, OpCompareAndSwap, OpDelete:
		return true
	default:
		return false
	}
}

// Request is one command before it is encoded. It lives on its caller's stack.
type Request struct {
	Op        Op
	Own       bool // the client's own, which is not counted among the operations of callers
	Alone     bool // a Get or GetMulti that must not share its line with others: its line failed once
	Again     bool // this is the second try
	Key       string
	Keys      []string         // GetMulti
	Item      *gomemcache.Item // operations that store
	Valueless bool             // a hand-over that asks for what belongs to the value only
	Seconds   int32            // Touch, GetAndTouch
	Delta     uint64           // Increment, Decrement
	Began     int64            // when the call began, if this is not its first request; of the client's clock
}

// Size is roughly the request's length on the wire, in bytes.
func (r *Request) Size() int {
	n := len(r.Key) + 32
	if r.Item != nil {
		n += len(r.Item.Value)
	}
	for _, k := range r.Keys {
		n += len(k) + 1
	}
	return n
}

// AppendRequest encodes r in full with its command, as
// https://github.com/memcached/memcached/blob/master/doc/protocol.txt has it.
func AppendRequest(b []byte, word string, r *Request) []byte {
	b = append(b, word...)
	switch r.Op {
	case OpGet, OpGetMulti:
		b = AppendKeys(b, r)
	case OpGetAndTouch:
		b = strconv.AppendInt(append(b, ' '), int64(r.Seconds), 10)
		b = append(append(b, ' '), r.Key...)
	case OpHandOver:
		b = append(append(append(b, ' '), r.Key...), " c f t"...)
		if !r.Valueless {
			b = append(b, " v"...)
		}
	case OpDelete:
		b = append(append(b, ' '), r.Key...)
	case OpTouch:
		b = append(append(b, ' '), r.Key...)
		b = strconv.AppendInt(append(b, ' '), int64(r.Seconds), 10)
	case OpIncrement, OpDecrement:
		b = append(append(b, ' '), r.Key...)
		b = strconv.AppendUint(append(b, ' '), r.Delta, 10)
	case OpPing, OpFlush:
	default:
		b = AppendStoreHeader(b, r)
		b = append(b, r.Item.Value...)
	}
	return append(b, "\r\n"...)
}

// AppendKeys encodes the keys of a Get or GetMulti, which may follow those of others.
func AppendKeys(b []byte, r *Request) []byte {
	if r.Op == OpGet {
		return append(append(b, ' '), r.Key...)
	}
	for _, key := range r.Keys {
		b = append(append(b, ' '), key...)
	}
	return b
}

// AppendStoreHeader encodes what follows the verb of an operation that stores, up to the value.
func AppendStoreHeader(b []byte, r *Request) []byte {
	b = append(append(b, ' '), r.Key...)
	b = strconv.AppendUint(append(b, ' '), uint64(r.Item.Flags), 10)
	b = strconv.AppendInt(append(b, ' '), int64(r.Item.Expiration), 10)
	b = strconv.AppendInt(append(b, ' '), int64(len(r.Item.Value)), 10)
	if r.Op == OpCompareAndSwap {
		b = strconv.AppendUint(append(b, ' '), r.Item.CasID, 10)
	}
	return append(b, "\r\n"...)
}

// CanaryKey is asked for behind other commands: its reply can be told from theirs, and says that
// they are all answered.
const CanaryKey = "holdfast:canary"

// VersionRequest is the request of an OpPing.
const VersionRequest = "version\r\n"

// MaxKeyLength is the protocol's, in bytes.
const MaxKeyLength = 250

// LegalKey reports whether the protocol can carry the key. Unlike gomemcache it refuses the empty
// key, with which Set("", "flush_all") would be read as a command.
func LegalKey(key string) bool {
	if key == "" || len(key) > MaxKeyLength {
		return false
	}
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

package memcache

import (
	"strconv"
)

// op is one kind of request.
type op uint8

const (
	opGet op = iota
	opGetMulti
	opGetAndTouch
	opHandOver // the client's own: a Get that brings the expiration, too
	opSet
	opAdd
	opReplace
	opAppend
	opPrepend
	opCompareAndSwap
	opDelete
	opTouch
	opIncrement
	opDecrement
	opPing
	opFlush
	opCount
)

// verb is the operation's name in metrics, errors and logs, word its command on the wire.
func (o op) verb() string { return opNames[o].verb }
func (o op) word() string { return opNames[o].word }

// opNames is a constant table.
//
//nolint:gochecknoglobals // never written; an array cannot be a constant.
var opNames = [opCount]struct{ verb, word string }{
	opGet:            {"get", "gets"},
	opGetMulti:       {"get_multi", "gets"},
	opGetAndTouch:    {"get_and_touch", "gat"},
	opHandOver:       {"hand_over", "mg"},
	opSet:            {"set", "set"},
	opAdd:            {"add", "add"},
	opReplace:        {"replace", "replace"},
	opAppend:         {"append", "append"},
	opPrepend:        {"prepend", "prepend"},
	opCompareAndSwap: {"compare_and_swap", "cas"},
	opDelete:         {"delete", "delete"},
	opTouch:          {"touch", "touch"},
	opIncrement:      {"increment", "incr"},
	opDecrement:      {"decrement", "decr"},
	opPing:           {"ping", "version"},
	opFlush:          {"flush_all", "flush_all"},
}

// reads tells the operations that end as a miss while a server is down.
func (o op) reads() bool { return o <= opHandOver }

// stores tells the operations that carry a value.
func (o op) stores() bool { return o >= opSet && o <= opCompareAndSwap }

// repeatable tells the operations that may be sent again although the first try may have been
// carried out.
func (o op) repeatable() bool {
	return o.reads() || o == opTouch || o == opPing
}

// leavesOldValue tells the operations whose loss leaves a value on the server that the application
// meant to be gone. Add, Increment, Decrement and Touch are not among them: deleting their keys
// later would release locks and reset counters.
func (o op) leavesOldValue() bool {
	switch o {
	case opSet, opReplace, opAppend, opPrepend, opCompareAndSwap, opDelete:
		return true
	default:
		return false
	}
}

// request is one command before it is encoded. It lives on its caller's stack.
type request struct {
	op        op
	own       bool // the client's own, which is not counted among the operations of callers
	alone     bool // a Get or GetMulti that must not share its line with others: its line failed once
	again     bool // this is the second try
	key       string
	keys      []string // GetMulti
	item      *Item    // operations that store
	valueless bool     // a hand-over that asks for what belongs to the value only
	seconds   int32    // Touch, GetAndTouch
	delta     uint64   // Increment, Decrement
	began     int64    // when the call began, if this is not its first request; of the client's clock
}

// size is roughly what the request takes on the wire, in bytes.
func (r *request) size() int {
	n := len(r.key) + 32
	if r.item != nil {
		n += len(r.item.Value)
	}
	for _, k := range r.keys {
		n += len(k) + 1
	}
	return n
}

// wordOf is an operation's command, as the client's options have it.
func (c *core) wordOf(o op) string {
	if c.options.PlainGet && (o == opGet || o == opGetMulti) {
		return "get"
	}
	return o.word()
}

// appendRequest encodes r in full with its command, as
// https://github.com/memcached/memcached/blob/master/doc/protocol.txt has it.
func appendRequest(b []byte, word string, r *request) []byte {
	b = append(b, word...)
	switch r.op {
	case opGet, opGetMulti:
		b = appendKeys(b, r)
	case opGetAndTouch:
		b = strconv.AppendInt(append(b, ' '), int64(r.seconds), 10)
		b = append(append(b, ' '), r.key...)
	case opHandOver:
		b = append(append(append(b, ' '), r.key...), " c f t"...)
		if !r.valueless {
			b = append(b, " v"...)
		}
	case opDelete:
		b = append(append(b, ' '), r.key...)
	case opTouch:
		b = append(append(b, ' '), r.key...)
		b = strconv.AppendInt(append(b, ' '), int64(r.seconds), 10)
	case opIncrement, opDecrement:
		b = append(append(b, ' '), r.key...)
		b = strconv.AppendUint(append(b, ' '), r.delta, 10)
	case opPing, opFlush:
	default:
		b = appendStoreHeader(b, r)
		b = append(b, r.item.Value...)
	}
	return append(b, "\r\n"...)
}

// appendKeys encodes the keys of a Get or GetMulti, which may follow those of others.
func appendKeys(b []byte, r *request) []byte {
	if r.op == opGet {
		return append(append(b, ' '), r.key...)
	}
	for _, key := range r.keys {
		b = append(append(b, ' '), key...)
	}
	return b
}

// appendStoreHeader encodes what follows the verb of an operation that stores, up to the value.
func appendStoreHeader(b []byte, r *request) []byte {
	b = append(append(b, ' '), r.key...)
	b = strconv.AppendUint(append(b, ' '), uint64(r.item.Flags), 10)
	b = strconv.AppendInt(append(b, ' '), int64(r.item.Expiration), 10)
	b = strconv.AppendInt(append(b, ' '), int64(len(r.item.Value)), 10)
	if r.op == opCompareAndSwap {
		b = strconv.AppendUint(append(b, ' '), r.item.CasID, 10)
	}
	return append(b, "\r\n"...)
}

const maxKeyLength = 250

// legalKey reports whether the protocol can carry the key. Unlike gomemcache it refuses the empty
// key, with which Set("", "flush_all") would be read as a command.
func legalKey(key string) bool {
	if key == "" || len(key) > maxKeyLength {
		return false
	}
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

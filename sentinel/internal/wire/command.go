package wire

import (
	"bytes"
	"errors"
	"fmt"
)

// Class says what commands do to data and to the connection that they are sent on.
type Class uint16

const (
	// Writes may change data. Commands that are not known count as writing.
	Writes Class = 1 << iota
	// Private needs a connection that no other caller uses: the command changes its state, or blocks it.
	Private
	// Dirty leaves the connection in a state that the next user must not find.
	Dirty
	// Begins opens a transaction.
	Begins
	// Ends closes a transaction, and forgets what is watched.
	Ends
	// Watches makes the connection watch keys.
	Watches
	// Unwatches ends that.
	Unwatches
	// Subscribes turns the connection into one of messages.
	Subscribes
	// Blocks may wait for an event as long as its caller allows.
	Blocks
)

// reads is the class of commands that do neither.
const reads Class = 0

// longest is the length of the longest name in the table.
const longest = 20

// classes lists what is not simply a write on a shared connection. Names are in upper case.
//
//nolint:gochecknoglobals // never written; a map cannot be a constant.
var classes = map[string]Class{
	// Read-only, from redis' own command table.
	"BITCOUNT": reads, "BITFIELD_RO": reads, "BITPOS": reads, "COMMAND": reads, "DBSIZE": reads, "DUMP": reads, "ECHO": reads,
	"EVALSHA_RO": reads, "EVAL_RO": reads, "EXISTS": reads, "EXPIRETIME": reads, "FCALL_RO": reads, "GEODIST": reads,
	"GEOHASH": reads, "GEOPOS": reads, "GEORADIUSBYMEMBER_RO": reads, "GEORADIUS_RO": reads, "GEOSEARCH": reads, "GET": reads,
	"GETBIT": reads, "GETRANGE": reads, "HEXISTS": reads, "HEXPIRETIME": reads, "HGET": reads, "HGETALL": reads, "HKEYS": reads,
	"HLEN": reads, "HMGET": reads, "HPEXPIRETIME": reads, "HPTTL": reads, "HRANDFIELD": reads, "HSCAN": reads, "HSTRLEN": reads,
	"HTTL": reads, "HVALS": reads, "INFO": reads, "KEYS": reads, "LASTSAVE": reads, "LATENCY": reads, "LCS": reads, "LINDEX": reads,
	"LLEN": reads, "LOLWUT": reads, "LPOS": reads, "LRANGE": reads, "MEMORY": reads, "MGET": reads, "OBJECT": reads,
	"PEXPIRETIME": reads, "PING": reads, "PTTL": reads, "PUBSUB": reads, "RANDOMKEY": reads, "ROLE": reads, "SCAN": reads,
	"SCARD": reads, "SDIFF": reads, "SINTER": reads, "SINTERCARD": reads, "SISMEMBER": reads, "SLOWLOG": reads, "SMEMBERS": reads,
	"SMISMEMBER": reads, "SORT_RO": reads, "SRANDMEMBER": reads, "SSCAN": reads, "STRLEN": reads, "SUBSTR": reads, "SUNION": reads,
	"TIME": reads, "TTL": reads, "TYPE": reads, "XREAD": reads, "XINFO": reads, "XLEN": reads, "XPENDING": reads, "XRANGE": reads,
	"XREVRANGE": reads, "ZCARD": reads, "ZCOUNT": reads, "ZDIFF": reads, "ZINTER": reads, "ZINTERCARD": reads, "ZLEXCOUNT": reads,
	"ZMSCORE": reads, "ZRANDMEMBER": reads, "ZRANGE": reads, "ZRANGEBYLEX": reads, "ZRANGEBYSCORE": reads, "ZRANK": reads,
	"ZREVRANGE": reads, "ZREVRANGEBYLEX": reads, "ZREVRANGEBYSCORE": reads, "ZREVRANK": reads, "ZSCAN": reads, "ZSCORE": reads,
	"ZUNION": reads,

	// The state of the connection.
	"ASKING": Private | Dirty, "AUTH": Private | Dirty, "CLIENT": Private | Dirty, "HELLO": Private | Dirty,
	"MONITOR": Private | Dirty | Subscribes, "PSYNC": Private | Dirty | Subscribes, "QUIT": Private | Dirty,
	"READONLY": Private | Dirty, "READWRITE": Private | Dirty, "RESET": Private | Dirty, "SELECT": Private | Dirty,
	"SYNC": Private | Dirty | Subscribes, "FAILOVER": Private | Writes,
	"SUBSCRIBE": Private | Dirty | Subscribes, "PSUBSCRIBE": Private | Dirty | Subscribes, "SSUBSCRIBE": Private | Dirty | Subscribes,
	"UNSUBSCRIBE": Private | Dirty | Subscribes, "PUNSUBSCRIBE": Private | Dirty | Subscribes,
	"SUNSUBSCRIBE": Private | Dirty | Subscribes,

	// Transactions. Those that WATCH and then only read end with EXEC all the same, which needs the primary.
	"MULTI": Private | Writes | Begins, "EXEC": Private | Writes | Ends, "DISCARD": Private | Ends,
	"WATCH": Private | Watches, "UNWATCH": Private | Unwatches,

	// Blocking.
	"BLMOVE": Private | Writes | Blocks, "BLMPOP": Private | Writes | Blocks, "BLPOP": Private | Writes | Blocks,
	"BRPOP": Private | Writes | Blocks, "BRPOPLPUSH": Private | Writes | Blocks, "BZMPOP": Private | Writes | Blocks,
	"BZPOPMAX": Private | Writes | Blocks, "BZPOPMIN": Private | Writes | Blocks, "WAIT": Private | Blocks, "WAITAOF": Private | Blocks,
}

// ErrNotCommand says that what was to be sent is not a command: an array of strings.
var ErrNotCommand = errors.New("not a redis command")

// Inspect reads encoded commands: how many there are, and what they do together. Begins and Watches are those that the last of
// them leaves open.
func Inspect(b []byte) (commands int, class Class, err error) {
	for len(b) > 0 {
		size, c, err := inspectOne(b)
		if err != nil {
			return 0, 0, err
		}
		b = b[size:]
		if c&Ends != 0 {
			class &^= Begins | Watches
		}
		if c&Unwatches != 0 {
			class &^= Watches
		}
		class |= c
		commands++
	}
	return commands, class, nil
}

// inspectOne reads the first command of b.
func inspectOne(b []byte) (size int, class Class, err error) {
	n, at, ok := header(b, '*')
	if !ok || n < 1 {
		return 0, 0, notCommand(b)
	}
	var name []byte
	for i := range n {
		length, skip, ok := header(b[at:], '$')
		from := at + skip
		at = from + length + len("\r\n")
		if !ok || at > len(b) {
			return 0, 0, notCommand(b)
		}
		arg := b[from : from+length]
		if i == 0 {
			name = arg
			class = classOf(name)
			continue
		}
		if class&^Writes == 0 {
			class |= byArgument(name, i, arg)
		}
	}
	return at, class, nil
}

func notCommand(b []byte) error {
	return fmt.Errorf("%w: %q: an array of bulk strings is expected", ErrNotCommand, b[:min(len(b), maxQuoted)])
}

// header reads "<kind><number>\r\n".
func header(b []byte, kind byte) (n, size int, ok bool) {
	if len(b) < 4 || b[0] != kind {
		return 0, 0, false
	}
	for i, c := range b[1:] {
		switch {
		case c == '\r':
			return n, i + 3, i > 0 && i+2 < len(b) && b[i+2] == '\n'
		case c < '0' || c > '9' || n > maxBulk:
			return 0, 0, false
		}
		n = n*10 + int(c-'0')
	}
	return 0, 0, false
}

func classOf(name []byte) Class {
	if len(name) > longest {
		return Writes
	}
	var upper [longest]byte
	for i, c := range name {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	if class, ok := classes[string(upper[:len(name)])]; ok {
		return class
	}
	return Writes
}

// byArgument adds what only an argument tells: a stream that is read with BLOCK, and a script debugger.
func byArgument(name []byte, i int, arg []byte) Class {
	switch {
	case len(arg) != len("BLOCK"):
		return 0
	case bytes.EqualFold(arg, []byte("BLOCK")) && (bytes.EqualFold(name, []byte("XREAD")) || bytes.EqualFold(name, []byte("XREADGROUP"))):
		return Private | Blocks
	case i == 1 && bytes.EqualFold(arg, []byte("DEBUG")) && bytes.EqualFold(name, []byte("SCRIPT")):
		return Private | Dirty
	}
	return 0
}

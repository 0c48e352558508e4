package memcache

import gomemcache "github.com/bradfitz/gomemcache/memcache"

// The package objects of gomemcache, so that a changed import line is the whole migration. Types
// are aliases and errors are the same values: items, selectors and comparisons with == work across
// both packages.
type (
	// Item is an item to be got from or stored in a server.
	Item = gomemcache.Item
	// ServerSelector picks the server of a key. Implementations must be safe for concurrent use.
	ServerSelector = gomemcache.ServerSelector
	// ServerList is gomemcache's selector. It resolves names once, in SetServers; [New] and
	// [Options.Servers] keep the names.
	ServerList = gomemcache.ServerList
	// ConnectTimeoutError says that a dial ran into the time limit. Here it is found as the cause
	// of a [*ServerDownError].
	ConnectTimeoutError = gomemcache.ConnectTimeoutError
)

const (
	// DefaultTimeout is the time limit of one call when [Client.Timeout] is zero: 500 ms.
	DefaultTimeout = gomemcache.DefaultTimeout
	// DefaultMaxIdleConns is gomemcache's constant, kept so that code compiles. It is not what a
	// zero [Client.MaxIdleConns] means here: that is 64, because two idle connections turn a busy
	// client into a dial storm.
	DefaultMaxIdleConns = gomemcache.DefaultMaxIdleConns
)

// The errors of gomemcache, as the same values.
var (
	// ErrCacheMiss says that the server does not have the key; Get and GetAndTouch also return it
	// while the server is down.
	ErrCacheMiss = gomemcache.ErrCacheMiss
	// ErrCASConflict says that the item changed between the Get and the CompareAndSwap.
	ErrCASConflict = gomemcache.ErrCASConflict
	// ErrNotStored says that the condition of Add, Replace, Append or Prepend was not met.
	ErrNotStored = gomemcache.ErrNotStored
	// ErrServerError is wrapped by errors that carry the server's own ERROR, CLIENT_ERROR or
	// SERVER_ERROR text.
	ErrServerError = gomemcache.ErrServerError
	// ErrNoStats is never returned; gomemcache has it.
	ErrNoStats = gomemcache.ErrNoStats
	// ErrMalformedKey says that a key is empty, longer than 250 bytes, or holds a space or control
	// character. Nothing was sent.
	ErrMalformedKey = gomemcache.ErrMalformedKey
	// ErrNoServers says that the client knows no server, or was given names that cannot be
	// addresses.
	ErrNoServers = gomemcache.ErrNoServers
)

// Package memcache is a drop-in for github.com/bradfitz/gomemcache/memcache that holds fast when a
// server doesn't: change the import line, and the same code gets a client that answers at once
// while a server is down, heals in the background and never serves a value that was overwritten
// meanwhile.
//
// # While a server is down
//
// Each server has a breaker of its own; the keys of a server that is down are not moved to others,
// for that is how stale data is made. Reads of its keys are misses ([ErrCacheMiss] itself, or
// missing from GetMulti's map), so that code with a fallback needs no change. Writes, Touch and
// Ping return a [*ServerDownError] that tells the cause and whether a byte was sent.
// [Client.Reporting] is for code that must tell "down" from "miss".
//
// # Writes that were missed
//
// A Set, Replace, CompareAndSwap, Append, Prepend or Delete that failed, or was refused, may leave
// an old value on the server. Its key is remembered (65 536 keys a server, 16 MiB) and deleted
// there before the server is used again. That covers the writes of this process. Keys of Add,
// Increment, Decrement and Touch are never deleted: they may be locks and counters. Do not keep
// locks that are written with Set and cached values on one client, unless with [Options.NoReplay].
//
// # The wire
//
// All callers share one pipelined connection per server (classic text protocol); requests that
// queue while another is being written go out together, Gets merged into one line. Values above
// 32 KiB are sent on private connections. GetMultis of values that are known to be large, 256 KiB
// together, go on a second connection that they share. A call takes at most [Options.Timeout],
// queueing and one retry included; a hang is found before that, by its silence and that of a fresh
// connection (a fifth of Timeout; [Options.HangTimeout]).
//
// # Addresses
//
// A server is "host:port" or the path of a unix socket, without a scheme. It is one address at a
// time, whatever its name has: all its connections go there, and move together when the name loses
// it. A name that stands for several servers (a headless service) is said so in the log; list the
// servers one by one to use all of them.
package memcache

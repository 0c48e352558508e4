// Package holdfasttest has servers for tests of code that falls back when a cache fails: a
// memcached and a Redis with sentinels, in the test's own process, that die, hang, fail over and
// lie on command. They need nothing installed, listen on free ports of 127.0.0.1 and end with the
// test.
//
//	cache := holdfasttest.StartMemcached(t)
//	c := memcache.New(cache.Addr())
//	cache.Kill()
//	// does the service answer from its database, and at once?
//
// They are simple models. What matters to you in earnest (replication, eviction, persistence) is
// best tried with real servers, too.
package holdfasttest

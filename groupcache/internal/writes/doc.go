// Package writes has the rules by which the writes of a groupcache, Set and Remove, reach all
// processes that may have an older value.
//
// # What is promised
//
// When a write of a key has returned nil, no Get that begins later, at any process that was told,
// returns a value that was loaded before the write began. A write that could not tell a process
// says so, and that process is told before the writer asks it again.
//
// # Why that holds
//
// A value moves in one direction only: from the Getter to the process that loads it, and from there
// to those that ask it. A process that is asked by another one never asks a third: it answers from
// its caches, or loads. A process asks the owner of a key, then the two that stand in for it, those
// that the ring has next; the owner, for a while after the peers have changed, asks those that
// owned the key before. The rules follow from this.
//
//  1. A process that is told of a write drops its loads under way, then its value, then its loads
//     again. (An earlier version dropped the loads once. A load that began between the two steps
//     found the old value in the cache, and callers that came after the write joined it.) Nobody
//     joins a load that was dropped, and its result is not kept: the store looks at the load's
//     fence under the lock of the shard, so that no moment lies between the look and the storing.
//  2. Processes that may be asked are told before those that ask them: former owners first, then
//     the owner and its stand-ins in their order, one after the other, and then all others at once
//     (Round). Told earlier, one of the others fetches the old value from them again, and keeps it.
//     Owner and stand-ins were told in order from the first version on; former owners came with the
//     handover, which asks them. Each process may have an order of its own in which it asks the
//     stand-ins (Options.Zone), and processes need not agree on it: a write goes by the ring, and
//     reaches the stand-ins before any process that may ask them, also those that the writer, which
//     has just begun, has not greeted yet: others may have. A stand-in itself asks only those
//     that the ring has before it, as its own place in its order can only move forward. (A stand-in
//     in each zone, from among all peers, would be told by the others at the same time as those
//     that ask it, where a writer does not know the zones yet, or is of an older version.)
//  3. The writer drops its own loads before it tells anybody, and is told itself at its rank: its
//     own Gets see the write when it has returned.
//  4. A key that was written lately is not taken over from former owners, which may not have been
//     told (Touched), and a fetch of it is not joined while the peers change. This is looked at
//     when the load has begun: from then on a write fences it. (Looked at before, a write in
//     between was neither seen nor did it find a load to fence.)
//  5. The removals that a process misses while it is down are kept for it (Missed), and it is not
//     asked until it has heard them. If there are too many, it is to forget everything. A removal
//     that something on the way never lets through is given up, and counted: that process may have
//     old values until they expire.
//  6. A process that comes, or comes back, was not told of earlier writes: it is told of them, or
//     to forget everything (Early). Before this rule, a process that had been off the lists for a
//     while came back with its old values. A process that is new itself must not let others forget:
//     it would empty the caches of all that it hears of later than of others.
//  7. A process that has left may still be asked by others that do not know: it is told, too. It is
//     no error if it does not hear it.
//  8. A removal of all keys that begin with a prefix has no order that suits all keys, as each
//     process owns some. It takes two steps (Sweep). In the first, each process drops its values;
//     from then on it neither keeps nor joins anything that comes from another process, which may
//     not have been told yet (Sweeps). When all have done it, all their values were loaded later,
//     and the second step lifts the rule. A process that missed the first step drops its values
//     when it is back. If that is while others have not begun, it begins then (Beginning): it would
//     get old values from those, and keep them. (It was told to drop its values only.) So does one
//     that has not begun after BeginWithin: the first ones to begin lift the rule by themselves
//     some time later, as the writer may have died.
//  9. A Set goes on when its caller leaves, who may write the key again: that write waits for it
//     (Left). Before this rule the older value came last when it had waited for its turn, or the
//     network, for longer. A Set whose caller leaves before its value goes out is a removal.
//
// # What is assumed
//
// Processes agree on their peers but for the time that a change takes, which Options.Handover
// bounds. Those that share no peer do not tell each other anything. Peers of the original drop what
// they are told to, but neither fence their loads nor know batches: with them in the cluster a load
// that was under way during a write may bring the old value back.
//
// # The order of locks
//
// A lock is taken only while one further left is held, never the other way round, and no lock is
// held over requests, Getters, or functions of the user:
//
//	Instance.mu > store shard
//	Instance.mu > process.Process.mu
//	flight shard, batch, Ages.mu, Left.mu, Touched.mu, Sweeps.mu > (nothing)
//	peer.Pool.mu > Early.mu > Missed.mu
//	peer.Pool.mu > breaker
//	peer batcher > (nothing)
package writes

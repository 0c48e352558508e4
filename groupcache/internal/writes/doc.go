// Package writes has the rules by which the writes of a groupcache, Set and Remove, reach all processes that may have an older value.
//
// # What is promised
//
// When a write of a key has returned nil, no Get that begins later, at any process that was told, returns a value that was loaded before the write
// began. A write that could not tell a process says so, and that process is told before the writer asks it again.
//
// # Why that holds
//
// A value moves in one direction only: from the Getter to the process that loads it, and from there to those that ask it. A process that is asked by
// another one never asks a third: it answers from its caches, or loads. Who is asked for a key are its owner, then those that stand in for
// it, in the order of the ring, then, for a while after the peers have changed, those that owned it before. From this follow the rules.
//
//  1. Each process that is told drops its values first and its loads under way second, and the loads once more at the end. (An earlier version dropped
//     the loads once. A load that began between the two steps found the old value in the cache, and those who asked after the write joined
//     it.) A load that was dropped is not joined any more, and what it brings is not kept: its fence is looked at under the lock of the
//     store's shard, so that there is no moment between the look and the storing.
//  2. Those that may be asked are told before those that ask them: former owners first, then the owner and its stand-ins in their order, one after
//     the other, and then all others at once (Round). Told earlier, one of the others fetches the old value from them again, and keeps
//     it. The ranked ones have been told in order from the first version on; former owners came with Handover, which had made them ones that are asked.
//  3. The writer drops its own loads before it tells anybody, and is told itself at its rank: its own Gets see the write when it has returned.
//  4. A key that was written lately is not taken over from former owners, which need not have been told (Touched), and a fetch of it is not joined
//     while the peers change.
//  5. What a process that is down misses is kept for it (Missed), and it is not asked until it has heard it. If there is too much, it is to forget all
//     that it has. What something on the way never lets through is given up, and counted: that process may have old values until they
//     expire.
//  6. A process that comes, or comes back, was not told of what was written before: it is told of that, or to forget everything (Early). Before
//     this rule, one that had been off the lists for a while came back with what it had when it left. A process that is new itself must not let others
//     forget: it would empty the caches of all that it hears of later than they of it.
//  7. A process that has left may still be asked by others that do not know: it is told, too. What it does not hear is no error.
//  8. A removal of all keys that begin with a prefix has no order that suits all keys: each process is the owner of some. It takes two steps
//     (Sweep). In the first each process drops what it has, and from then on nothing that comes from another process is kept or joined (Sweeps),
//     as that one may not have been told yet. When all have done it, whatever they have was loaded later, and the second step ends that. A
//     process that missed the first step drops what it has when it is back.
//
// # What is assumed
//
// Processes agree on their peers but for the time that a change takes, which Options.Handover bounds. Those that share no peer do not tell each
// other anything. Peers of the original drop what they are told to, but neither fence their loads nor know batches: with them in the cluster a
// load that was under way during a write may bring the old value back.
//
// # The order of locks
//
// A lock is taken only while one further left is held, never the other way round, and no lock is held over requests, Getters, or functions of the user:
//
//	Instance.mu > store shard
//	flight shard, batch, Ages.mu, Touched.mu, Sweeps.mu > (nothing)
//	peer.Pool.mu > Early.mu > Missed.mu
//	peer.Pool.mu > breaker
//	peer batcher > (nothing)
package writes

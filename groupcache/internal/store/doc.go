// Package store keeps the values of one cache of a group in memory, within a budget of bytes.
//
// A [Store] is made of shards. Each has an index that readers walk without a lock, and a policy,
// behind a mutex, that says what goes when room is needed: S3-FIFO (Yang et al., "FIFO queues are
// all you need for cache eviction", SOSP 2023), with additions, or LRU. A hit under S3-FIFO costs a
// hash, a walk of the index and one atomic addition; it takes no lock and allocates nothing.
//
// The budget is for the whole store: a shard takes what others leave unused and gives it back when
// they need it.
package store

// Package groupcachepb holds the messages between peers.
package groupcachepb

// The file is compiled under a path of our own, as it is registered by that: a program may also
// have the original's groupcache.proto.
//go:generate protoc -Iholdfast/groupcache/v1=. --go_out=. --go_opt=module=github.com/holdfast-go/holdfast/groupcache/groupcachepb holdfast/groupcache/v1/groupcache.proto

package groupcache

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/tiers"
)

// Set stores a value at the owner of the key, and removes the key from the caches of all others, so
// that no caller gets an older value after Set has returned nil. With a hotCache a process that is
// not the owner keeps the value, too. The value is copied; the zero time means that it never
// expires. It works on if the context ends, and returns then; a value that has not gone out by then
// does not, and its key is removed everywhere.
//
// The error names the peers that could not be told; each of them is told to drop the key before
// this process asks it again. What something on the way never lets through is given up, said in the
// log and counted: such a peer may have the old value until it expires.
func (g *Group) Set(ctx context.Context, key string, value []byte, expire time.Time, hotCache bool) error { //nolint:revive // the original's signature
	keep := (*tiers.Tiers).Drop
	if hotCache {
		keep = (*tiers.Tiers).PutHot
	}
	return g.parts.Writer.Set(ctx, key, outcome.Value{Bytes: string(value), Expire: nanoseconds(expire)}, keep)
}

// Remove drops a key from the caches of all peers, so that no caller gets a value loaded before,
// after Remove has returned nil. It works on if the context ends, and returns then.
//
// The error names the peers that could not be told; each of them is told before this process asks
// it again. What something on the way never lets through is given up, said in the log and counted:
// such a peer may have the value until it expires.
func (g *Group) Remove(ctx context.Context, key string) error {
	return g.parts.Writer.Remove(ctx, key)
}

// Clear drops all values of the group from this process's caches, and loads under way are not kept.
// Peers keep theirs.
func (g *Group) Clear() { g.parts.Writer.Clear() }

// Removal says what became of RemoveAll or RemovePrefix at the other peers, by their addresses.
type Removal struct {
	// Done are the peers that have dropped what they had.
	Done []string
	// Missed are the peers that could not be told. Each of them is told before this process asks it
	// again.
	Missed []string
	// Unable are the peers that cannot do it, and may answer with old values until they expire:
	// those of the original, those of a foreign PeerPicker, and those behind something that lets no
	// such request through.
	Unable []string
}

// RemoveAll drops all keys of the group from the caches of all peers. See RemovePrefix. Clear is
// its counterpart for this process alone.
func (g *Group) RemoveAll(ctx context.Context) (Removal, error) { return g.RemovePrefix(ctx, "") }

// RemovePrefix drops all keys that begin with a prefix from the caches of all peers, so that no
// caller gets a value loaded before, after RemovePrefix has returned nil. It asks each peer twice,
// and costs each a walk through the group's caches. It works on if the context ends, and returns
// then, without a Removal. A peer that has not begun within 20 seconds has missed it.
//
// The error is nil if all peers have done it, and names those that have not: the others have
// dropped what they had, but may be given an old value by those, and keep it. A peer of an older
// version drops all that it has, of all groups.
func (g *Group) RemovePrefix(ctx context.Context, prefix string) (Removal, error) {
	r, err := g.parts.Writer.RemovePrefix(ctx, prefix)
	return Removal(r), err
}

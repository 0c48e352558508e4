package groupcache

import (
	"context"
	"errors"
	"io"
)

// Save writes the values of this process's own keys, those read most first, at most 262,144 of
// them, for Load in a process that takes its place. It returns how many it has written. Call it
// when no more requests come in, before Close. Keys of more than 1 MiB are left out. What it writes
// is as secret as the values are.
func (g *Group) Save(w io.Writer) (values int, err error) {
	return g.parts.Handover.Save(w)
}

// Load takes over what Save has written, as far as this process owns the keys and has room and no
// value for them, and it has not expired. Call it after SetPeers, before requests come in. It
// returns how many values it has taken.
//
// A value that was set or removed since is not taken. All peers are asked for that, which remember
// it for as long as Options.Handover says: a snapshot must not be older, and each peer must have
// been running when it was made. Otherwise, or if a peer cannot be asked, or is one of the
// original, the error says so, and values that were not checked are not taken. An Instance without
// Self and without peers takes all. What came from a damaged snapshot before the damage is kept.
// The checksum is no proof of origin: keep snapshots where nobody else writes.
func (g *Group) Load(ctx context.Context, r io.Reader) (values int, err error) {
	return g.parts.Handover.Load(ctx, r)
}

// Drain hands the values read most over to the peers that will own them when this process has left,
// so that they need not load it. Call it first when the process is to end, while it is still among
// the peers; then let it leave their lists, and Close it some seconds later, if there is time:
// until then they ask it for values that were not handed over.
//
// It returns when all is handed over or the context ends, with the context's error then. Other
// errors name peers that took nothing; what they lack will be loaded. With Options.SetOwnerOnly, or
// a negative Options.Handover, nothing is handed over.
func (i *Instance) Drain(ctx context.Context) error {
	if i.process.Closed() {
		return ErrClosed
	}
	if i.process.Limits().SetOwnerOnly || i.options.Handover < 0 {
		return nil
	}
	var errs []error
	for _, g := range i.Groups() {
		errs = append(errs, g.parts.Handover.Drain(ctx))
	}
	return errors.Join(errs...)
}

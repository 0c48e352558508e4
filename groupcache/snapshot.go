package groupcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/snapshot"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/internal/observe"
)

const (
	// maxSaved is how many values a snapshot has at most.
	maxSaved = 1 << 18
	// checkKeys and checkBytes bound the values whose writes the peers are asked for at once.
	checkKeys  = 512
	checkBytes = 4 << 20
)

// Save writes the values of this process's own keys, those read most first, at most 262,144 of
// them, for Load in a process that takes its place. It returns how many it has written. Call it
// when no more requests come in, before Close. Keys of more than 1 MiB are left out. What it writes
// is as secret as the values are.
func (g *Group) Save(w io.Writer) (values int, err error) {
	out, err := snapshot.NewWriter(w, g.name, time.Now())
	if err != nil {
		return 0, fmt.Errorf("groupcache: save the group %s: %w", observe.Quote(g.name), err)
	}
	for _, hot := range g.main.Hottest(maxSaved) {
		if hot.Flags&flagAbsent != 0 || !g.owns(hot.Key) {
			continue
		}
		err := out.Write(snapshot.Record{Key: hot.Key, Value: hot.Value, Expire: hot.Expire})
		if errors.Is(err, snapshot.ErrKeyTooLong) {
			continue
		}
		if err != nil {
			return values, fmt.Errorf("groupcache: save the group %s: %w", observe.Quote(g.name), err)
		}
		values++
	}
	if err := out.Close(); err != nil {
		return values, fmt.Errorf("groupcache: save the group %s: %w", observe.Quote(g.name), err)
	}
	return values, nil
}

// Load takes over what Save has written, as far as this process owns the keys and has room and no
// value for them, and it has not expired. Call it after SetPeers, before requests come in. It
// returns how many values it has taken.
//
// A value that was set or removed since is not taken. All peers are asked for that, who remember it
// for as long as Options.Handover says: a snapshot must not be older, and each peer must have been
// running when it was made. Otherwise, or if a peer cannot be asked, or is one of the original, the
// error says so, and what is not checked is not taken. An Instance without Self and without peers
// takes all. What came from a damaged snapshot before the damage is kept. The checksum is no proof
// of origin: keep snapshots where nobody else writes.
func (g *Group) Load(ctx context.Context, r io.Reader) (values int, err error) {
	ctx = orBackground(ctx)
	in, err := snapshot.NewReader(r, g.instance.maxValueSize())
	if err != nil {
		return 0, fmt.Errorf("groupcache: load a snapshot: %w", err)
	}
	if in.Group != g.name {
		return 0, fmt.Errorf("groupcache: load a snapshot: it is of the group %s, not of %s", observe.Quote(in.Group), observe.Quote(g.name))
	}
	g.route().settle(ctx)
	for {
		records, end := g.nextRecords(ctx, in)
		n, err := g.takeSaved(ctx, in.Time, records)
		values += n
		if err != nil {
			return values, fmt.Errorf("groupcache: load a snapshot: %w", err)
		}
		if errors.Is(end, io.EOF) {
			return values, nil
		}
		if end != nil {
			return values, fmt.Errorf("groupcache: load a snapshot: %w", end)
		}
	}
}

// nextRecords reads the next records that may be taken, by key. The error is io.EOF at the end.
func (g *Group) nextRecords(ctx context.Context, in *snapshot.Reader) (map[string]snapshot.Record, error) {
	records := make(map[string]snapshot.Record)
	for size := 0; len(records) < checkKeys && size < checkBytes; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rec, err := in.Next()
		if err != nil {
			return records, err
		}
		if _, here := g.main.Peek(rec.Key); !here && g.owns(rec.Key) && g.alive(rec.Expire) {
			records[rec.Key] = rec
			size += len(rec.Key) + len(rec.Value)
		}
	}
	return records, nil
}

// takeSaved takes values of a time that no peer knows to be out of date, as loads that others may
// join, and that writes fence.
//
//nolint:contextcheck // the batch's context ends with ctx
func (g *Group) takeSaved(ctx context.Context, saved time.Time, records map[string]snapshot.Record) (taken int, err error) {
	keys := make([]string, 0, len(records))
	for key := range records {
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return 0, ctx.Err()
	}
	b := g.loads.Batch(ctx, keys)
	defer b.End()
	b.Abstain()
	defer b.LandAll(flight.ErrUndone)
	if len(b.Refused) > 0 {
		return 0, ErrClosed
	}
	written, err := g.writtenSince(ctx, saved, flight.Keys(b.Flights))
	if err != nil {
		return 0, err
	}
	for _, f := range b.Flights {
		rec := records[f.Key]
		if written[f.Key] || g.wroteBefore(f) || !g.alive(rec.Expire) || !g.main.Room(len(rec.Key), len(rec.Value)) {
			continue
		}
		if g.main.Add(store.Item{Key: rec.Key, Value: rec.Value, Expire: rec.Expire, Fence: &f.Fence}) {
			taken++
			land(b, f, ByteView{rec.Value, rec.Expire}, nil)
		}
	}
	return taken, nil
}

var (
	errNoPeersYet = errors.New("this process has no peers yet, who would know what was removed since: call SetPeers before")
	errForeign    = errors.New("the peers of a foreign PeerPicker do not know what was removed since")
	errOlder      = errors.New("the snapshot is older than Options.Handover, or from the future: nobody remembers what was removed since")
)

// writtenSince asks all peers which of several keys were set or removed since a time.
func (g *Group) writtenSince(ctx context.Context, since time.Time, keys []string) (map[string]bool, error) {
	written := make(map[string]bool)
	pool := g.route().pool()
	switch {
	case pool == nil && len(g.route().others(g.name, "")) > 0:
		return nil, errForeign
	case pool == nil, pool.Self() == "" && !pool.Shared():
		return written, nil
	case len(pool.URLs()) == 0:
		return nil, errNoPeersYet
	}
	age := time.Since(since)
	if age < 0 || age >= g.instance.options.Handover {
		return nil, errOlder
	}
	for _, p := range pool.Peers() {
		answers, err := p.Written(ctx, g.name, age+time.Millisecond, keys)
		if err != nil {
			return nil, fmt.Errorf("%w: %s does not tell what was removed since: %w", ErrPeerUnavailable, p.Shown(), err)
		}
		for i, a := range answers {
			if a.Outcome != peer.Absent {
				written[keys[i]] = true
			}
		}
	}
	return written, nil
}

// written tells a peer which of several keys were set or removed here.
func (g *Group) written(within time.Duration, keys []string) ([]peer.Answer, error) {
	if !g.touched.Remembers(within) {
		return nil, fmt.Errorf("%w: this process remembers no writes of so long ago", peer.ErrRefused)
	}
	answers := make([]peer.Answer, len(keys))
	for i, key := range keys {
		if !g.touched.Has(key) {
			answers[i].Outcome = peer.Absent
		}
	}
	return answers, nil
}

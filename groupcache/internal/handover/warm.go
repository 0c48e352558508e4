package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/loader"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/snapshot"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/groupcache/internal/tiers"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/internal/observe"
)

const (
	// maxSaved is how many values a snapshot has at most.
	maxSaved = 1 << 18
	// checkKeys and checkBytes bound the values whose writes the peers are asked for at once.
	checkKeys  = 512
	checkBytes = 4 << 20
)

// Save writes the values of this process's own keys, those read most first, and returns how many.
func (h *Handover) Save(w io.Writer) (values int, err error) {
	out, err := snapshot.NewWriter(w, h.group.Name, time.Now())
	if err != nil {
		return 0, fmt.Errorf("groupcache: save the group %s: %w", observe.Quote(h.group.Name), err)
	}
	for _, hot := range h.group.Tiers.Main.Hottest(maxSaved) {
		if hot.Flags&tiers.Absent != 0 || !h.group.Owns(hot.Key) {
			continue
		}
		err := out.Write(snapshot.Record{Key: hot.Key, Value: hot.Value, Expire: hot.Expire})
		if errors.Is(err, snapshot.ErrKeyTooLong) {
			continue
		}
		if err != nil {
			return values, fmt.Errorf("groupcache: save the group %s: %w", observe.Quote(h.group.Name), err)
		}
		values++
	}
	if err := out.Close(); err != nil {
		return values, fmt.Errorf("groupcache: save the group %s: %w", observe.Quote(h.group.Name), err)
	}
	return values, nil
}

// Load takes over what Save has written, as far as this process owns the keys and has room and no
// value for them, and it has not expired. All peers are asked which keys were set or removed since:
// what they cannot tell is not taken.
func (h *Handover) Load(ctx context.Context, r io.Reader) (values int, err error) {
	ctx = group.OrBackground(ctx)
	in, err := snapshot.NewReader(r, h.group.Process.Limits().MaxValueSize)
	if err != nil {
		return 0, fmt.Errorf("groupcache: load a snapshot: %w", err)
	}
	if in.Group != h.group.Name {
		return 0, fmt.Errorf("groupcache: load a snapshot: it is of the group %s, not of %s", observe.Quote(in.Group), observe.Quote(h.group.Name))
	}
	h.group.Route().Settle(ctx)
	for {
		records, end := h.nextRecords(ctx, in)
		n, err := h.takeSaved(ctx, in.Time, records)
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
func (h *Handover) nextRecords(ctx context.Context, in *snapshot.Reader) (map[string]snapshot.Record, error) {
	records := make(map[string]snapshot.Record)
	for size := 0; len(records) < checkKeys && size < checkBytes; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rec, err := in.Next()
		if err != nil {
			return records, err
		}
		if _, here := h.group.Tiers.Main.Peek(rec.Key); !here && h.group.Owns(rec.Key) && h.group.Process.Alive(rec.Expire) {
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
func (h *Handover) takeSaved(ctx context.Context, saved time.Time, records map[string]snapshot.Record) (taken int, err error) {
	keys := make([]string, 0, len(records))
	for key := range records {
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return 0, ctx.Err()
	}
	b := h.loader.Batch(ctx, keys)
	defer b.End()
	b.Abstain()
	defer b.LandAll(flight.ErrUndone)
	if len(b.Refused) > 0 {
		return 0, outcome.ErrClosed
	}
	written, err := h.writtenSince(ctx, saved, flight.Keys(b.Flights))
	if err != nil {
		return 0, err
	}
	for _, f := range b.Flights {
		rec := records[f.Key]
		if written[f.Key] || h.wroteBefore(f) || !h.group.Process.Alive(rec.Expire) || !h.group.Tiers.Main.Room(len(rec.Key), len(rec.Value)) {
			continue
		}
		if h.group.Tiers.Main.Put(store.Item{Key: rec.Key, Value: rec.Value, Expire: rec.Expire, Fence: &f.Fence}) {
			taken++
			loader.Land(b, f, outcome.Value{Bytes: rec.Value, Expire: rec.Expire}, nil)
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
func (h *Handover) writtenSince(ctx context.Context, since time.Time, keys []string) (map[string]bool, error) {
	written := make(map[string]bool)
	pool := h.group.Route().Pool()
	switch {
	case pool == nil && len(h.group.Route().Others(h.group.Name, "")) > 0:
		return nil, errForeign
	case pool == nil, pool.Self() == "" && !pool.Shared():
		return written, nil
	case len(pool.URLs()) == 0:
		return nil, errNoPeersYet
	}
	age := time.Since(since)
	if age < 0 || age >= h.group.Process.Handover {
		return nil, errOlder
	}
	for _, p := range pool.Peers() {
		answers, err := p.Written(ctx, h.group.Name, age+time.Millisecond, keys)
		if err != nil {
			return nil, fmt.Errorf("%w: %s does not tell what was removed since: %w", outcome.ErrPeerUnavailable, p.Shown(), err)
		}
		for i, a := range answers {
			if a.Outcome != wire.Absent {
				written[keys[i]] = true
			}
		}
	}
	return written, nil
}

// Written tells a peer which of several keys were set or removed here.
func (h *Handover) Written(within time.Duration, keys []string) ([]wire.Answer, error) {
	if !h.group.Touched.Remembers(within) {
		return nil, fmt.Errorf("%w: this process remembers no writes of so long ago", wire.ErrRefused)
	}
	answers := make([]wire.Answer, len(keys))
	for i, key := range keys {
		if !h.group.Touched.Has(key) {
			answers[i].Outcome = wire.Absent
		}
	}
	return answers, nil
}

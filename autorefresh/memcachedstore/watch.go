package memcachedstore

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// counter is the key of the journal's version, entry that of one of its entries.
func (s *Store) counter() string { return string(s.namespace) + ":n" }

func (s *Store) entry(n uint64) string { return s.counter() + ":" + strconv.FormatUint(n, 10) }

// Announce implements [autorefresh.Watcher]. What it cannot tell, Watch does later.
func (s *Store) Announce(ctx context.Context, keys ...string) error {
	s.pending.add(keys)
	return s.announce(ctx)
}

// announce writes the pending names to the journal.
func (s *Store) announce(ctx context.Context) error {
	names, all := s.pending.take()
	if all { // an entry without names
		if err := s.write(ctx, nil); err != nil {
			s.pending.addAll()
			s.pending.add(names)
			return err
		}
	}
	for len(names) > 0 {
		data, rest := seal(names)
		if err := s.write(ctx, data); err != nil {
			s.pending.add(names)
			return err
		}
		names = rest
	}
	return nil
}

// write makes an entry.
func (s *Store) write(ctx context.Context, data []byte) error {
	n, err := s.client.IncrementContext(ctx, s.counter(), 1)
	if errors.Is(err, memcache.ErrCacheMiss) {
		if err := s.begin(ctx); err != nil {
			return err
		}
		n, err = s.client.IncrementContext(ctx, s.counter(), 1)
	}
	if err != nil {
		return err
	}
	return s.client.SetContext(ctx, &memcache.Item{Key: s.entry(n), Value: data, Expiration: seconds(entryTTL)})
}

// begin makes the counter, unless somebody else has.
func (s *Store) begin(ctx context.Context) error {
	now := strconv.FormatInt(time.Now().UnixMicro(), 10)
	err := s.client.AddContext(ctx, &memcache.Item{Key: s.counter(), Value: []byte(now)})
	if errors.Is(err, memcache.ErrNotStored) {
		return nil
	}
	return err
}

// Watch implements [autorefresh.Watcher]: every Options.PollInterval it looks whether there are new
// entries in the journal that Announce writes, with one get.
func (s *Store) Watch(ctx context.Context, tell func(autorefresh.Notice)) error {
	ticker := time.NewTicker(s.poll)
	defer ticker.Stop()
	var r reading
	for {
		if notice, news := s.look(ctx, &r); news {
			tell(notice)
		}
		_ = s.announce(ctx) // the calls of the store tell that it is down
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look reads the new entries of the journal.
func (s *Store) look(ctx context.Context, r *reading) (n autorefresh.Notice, news bool) {
	item, err := s.client.GetContext(ctx, s.counter())
	if errors.Is(err, memcache.ErrCacheMiss) {
		if err = s.begin(ctx); err == nil {
			item, err = s.client.GetContext(ctx, s.counter())
		}
	}
	if err != nil {
		r.lose()
		return autorefresh.Notice{Down: err}, true
	}
	counter, err := strconv.ParseUint(strings.TrimSpace(string(item.Value)), 10, 64)
	if err != nil { // not ours
		_ = s.client.DeleteContext(ctx, s.counter())
		r.lose()
		return autorefresh.Notice{Down: err}, true
	}
	entries, gap := r.advance(counter, time.Now())
	if len(entries) == 0 {
		return autorefresh.Notice{Gap: gap}, gap
	}
	n.Gap = gap
	keys := make([]string, len(entries))
	for i, entry := range entries {
		keys[i] = s.entry(entry)
	}
	items, err := s.client.GetMultiContext(ctx, keys)
	if err != nil && len(items) == 0 {
		r.lose()
		return autorefresh.Notice{Down: err}, true
	}
	read := entries[:0]
	for i, entry := range entries {
		item := items[keys[i]]
		if item == nil {
			continue
		}
		read = append(read, entry)
		names, ok := open(item.Value)
		n.Gap = n.Gap || !ok || len(names) == 0
		n.Keys = append(n.Keys, names...)
	}
	n.Gap = r.noteRead(read, time.Now()) || n.Gap
	return n, n.Gap || len(n.Keys) > 0
}

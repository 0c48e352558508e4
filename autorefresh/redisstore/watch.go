package redisstore

import (
	"context"
	"strings"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/sentinel"
)

var _ autorefresh.Watcher = (*Store)(nil)

// Announce implements [autorefresh.Watcher]: redis tells of changes by itself, also of those by
// processes that do not watch.
func (s *Store) Announce(context.Context, ...string) error { return nil }

// Watch implements [autorefresh.Watcher], with the client tracking of redis 6 in broadcast mode, on
// a connection of its own, which follows failovers. A user of redis needs the right to CLIENT
// TRACKING.
func (s *Store) Watch(ctx context.Context, tell func(autorefresh.Notice)) error {
	prefix := s.name(ofValue, "")
	changes, err := s.client.Track(ctx, s.primary, prefix)
	if err != nil {
		return err
	}
	defer func() { _ = changes.Close() }()
	tell(autorefresh.Notice{Gap: true})
	for {
		m, err := changes.Next(ctx)
		if err != nil {
			return err
		}
		tell(noticeOf(m, prefix))
	}
}

func noticeOf(m sentinel.Message, prefix string) autorefresh.Notice {
	n := autorefresh.Notice{Gap: m.Resubscribed || m.Flushed, Down: m.Lost}
	for _, key := range m.Changed {
		if key, ours := strings.CutPrefix(key, prefix); ours {
			n.Keys = append(n.Keys, key)
		}
	}
	return n
}

package etcdpeers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-go/holdfast/internal/backoff"
)

// Causes why the list was asked for again, as in Stats.Relists.
const (
	// CauseAway is that etcd did not answer, or refused.
	CauseAway = "away"
	// CauseCompacted is that the watch was cut off for so long that etcd no longer had all changes.
	CauseCompacted = "compacted"
	// CauseDataLost is that etcd's revision went back, or that it is another cluster.
	CauseDataLost = "data_lost"
	// CauseLeaseLost is that etcd did not know the lease of this process any more.
	CauseLeaseLost = "lease_lost"
	// CauseBehind is that etcd's list twice was not what the watch had told.
	CauseBehind = "behind"
)

// causes are all there are.
func causes() []string {
	return []string{CauseAway, CauseCompacted, CauseDataLost, CauseLeaseLost, CauseBehind}
}

var (
	errDataLost  = errors.New("etcdpeers: etcd has lost its data: its revision went back, or it is another cluster")
	errLeaseLost = errors.New("etcdpeers: etcd does not know the lease of this process any more")
	errBehind    = errors.New("etcdpeers: the watch does not tell all changes")
	errEnded     = errors.New("etcdpeers: the watch has ended")
)

func causeOf(err error) string {
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return CauseCompacted
	case errors.Is(err, errDataLost):
		return CauseDataLost
	case errors.Is(err, errLeaseLost):
		return CauseLeaseLost
	case errors.Is(err, errBehind):
		return CauseBehind
	default:
		return CauseAway
	}
}

// follower reads the list and follows it by a watch. etcd's client resumes a watch without a word,
// also with an etcd that has lost its data and will be silent until its revision is beyond what was
// seen before; and it waits for ever for one that hangs. So etcd is asked at intervals where it
// stands.
type follower struct {
	watcher  *Watcher
	cause    string // why the list is asked for again; "" the first time
	cluster  uint64 // whose list was read
	revision int64  // the highest that was seen of it
	behind   int    // questions in a row with an answer that differs from what the watch has told
}

func (f *follower) run() {
	w := f.watcher
	for attempt := 0; ; attempt++ {
		began := time.Now()
		err := f.session()
		if w.life.Err() != nil {
			return
		}
		if time.Since(began) > w.options.interval() {
			attempt = 0
		}
		if cause := causeOf(err); cause == CauseAway {
			w.lost(err)
		} else {
			w.log.Info("etcdpeers: the list is asked for again", "reason", cause)
		}
		if !backoff.Pause(w.life, retries().Delay(attempt)) {
			return
		}
	}
}

// session reads the list and follows it until something is wrong, which is the error.
func (f *follower) session() error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(f.watcher.life))
	defer cancel()
	select {
	case <-f.watcher.doubted: // this list will do
	default:
	}
	err := f.list(ctx)
	if err == nil {
		err = f.watch(ctx, cancel)
	}
	if cause := causeOf(err); f.watcher.hasList() && (f.cause == "" || cause != CauseAway) {
		f.cause = cause
	}
	return err
}

func (f *follower) list(ctx context.Context) error {
	w := f.watcher
	ctx, cancel := w.request(ctx)
	defer cancel()
	answer, err := w.client.Get(ctx, w.prefix(), clientv3.WithPrefix())
	if err != nil {
		return fmt.Errorf("etcdpeers: list %q: %w", w.prefix(), err)
	}
	if f.saw(answer.Header.ClusterId, answer.Header.Revision) != nil {
		f.cause = CauseDataLost
	}
	f.cluster, f.revision, f.behind = answer.Header.ClusterId, answer.Header.Revision, 0
	w.replace(answer.Kvs, f.cause)
	f.cause = ""
	return nil
}

// saw takes note of where etcd stands.
func (f *follower) saw(cluster uint64, revision int64) error {
	if f.revision > revision || f.cluster != 0 && f.cluster != cluster {
		return errDataLost
	}
	f.revision = revision
	return nil
}

// watch follows changes after what was listed, until something is wrong. etcd's client waits for
// the first answer without a bound of its own, so cancel ends ctx. With our own client each watch
// has its own stream: one that is never answered would hold up all later ones.
func (f *follower) watch(ctx context.Context, cancel context.CancelFunc) error {
	w := f.watcher
	var watcher clientv3.Watcher = w.client
	if w.options.Client == nil {
		watcher = clientv3.NewWatcher(w.client)
		defer func() { _ = watcher.Close() }() // its error is that of ctx
	}
	late := time.AfterFunc(w.options.patience(), cancel)
	events := watcher.Watch(ctx, w.prefix(), clientv3.WithPrefix(), clientv3.WithRev(f.revision+1), clientv3.WithCreatedNotify())
	if !late.Stop() {
		return fmt.Errorf("etcdpeers: watch %q: %w", w.prefix(), context.DeadlineExceeded)
	}
	return f.follow(ctx, events)
}

func (f *follower) follow(ctx context.Context, events clientv3.WatchChan) error {
	w := f.watcher
	tick := time.NewTicker(w.options.interval())
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case answer, ok := <-events:
			if err = errEnded; ok {
				err = f.take(answer)
			}
		case <-tick.C:
			err = f.ask(ctx)
		case <-w.doubted:
			err = errLeaseLost
		}
		if err != nil {
			return err
		}
	}
}

// take applies what the watch tells.
func (f *follower) take(answer clientv3.WatchResponse) error {
	w := f.watcher
	if err := answer.Err(); err != nil {
		return fmt.Errorf("etcdpeers: watch %q: %w", w.prefix(), err)
	}
	if err := f.saw(answer.Header.ClusterId, answer.Header.Revision); err != nil {
		return err
	}
	w.found()
	w.apply(answer.Events)
	return nil
}

// ask lets etcd tell where it stands: its revision, how many keys there are, and which of them is
// the newest.
func (f *follower) ask(ctx context.Context) error {
	w := f.watcher
	ctx, cancel := w.request(ctx)
	defer cancel()
	answer, err := w.client.Get(ctx, w.prefix(), clientv3.WithPrefix(), clientv3.WithKeysOnly(),
		clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend), clientv3.WithLimit(1))
	if err != nil {
		return fmt.Errorf("etcdpeers: ask etcd: %w", err)
	}
	if err := f.saw(answer.Header.ClusterId, answer.Header.Revision); err != nil {
		return err
	}
	w.found()
	if w.confirm(answer.Count, answer.Kvs) {
		f.behind = 0
		return nil
	}
	if f.behind++; f.behind > 1 { // once, changes may be under way
		return errBehind
	}
	return nil
}

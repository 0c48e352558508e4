package autorefresh

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/internal/tracing"
)

// fetcher gets values, for refreshes and for loads: it consults the second level, asks the source, judges what it has said, and shares
// that with other processes. It knows nothing of the cache, and is safe for concurrent use.
type fetcher[K comparable, V any] struct {
	level  *level.Level[K, V] // nil if there is none
	source *source.Source[K]
	call   BatchFunc[K, V]
	tracer *tracing.Tracer // nil if there is none
	now    func() int64
	period time.Duration
}

// want is a key whose value is to be got, and what is known of it so far.
type want[K comparable, V any] struct {
	key    K
	entry  *timetable.Entry[K, V] // which is refreshed; nil in a load
	flight *flight[K, V]          // which waits for it; nil in a refresh
	newer  int64                  // a value of the second level has to be newer than this
	known  level.Stored[K, V]     // the second level's value, be it old
	result result[V]
}

// onlySource is the want.newer of what has to be got from the source, whatever the second level has.
const onlySource = math.MaxInt64

// anyAge is the want.newer of what the cache has nothing of.
const anyAge = math.MinInt64

func keysOf[K comparable, V any](wants []*want[K, V]) []K {
	keys := make([]K, len(wants))
	for i, w := range wants {
		keys[i] = w.key
	}
	return keys
}

// failAll makes failures of wants.
func failAll[K comparable, V any](wants []*want[K, V], err error, now int64) {
	for _, w := range wants {
		w.result = result[V]{outcome: failed, err: err, loadedAt: now}
	}
}

// job is one call of the source, with what comes before and after. It may be used for several calls, one after the other.
type job[K comparable, V any] struct {
	ctx      context.Context // of the call
	life     context.Context // of the second level, also when the call is over
	task     *task.Task
	rank     source.Rank
	timeout  time.Duration // 0 is none
	standing source.Standing
	begin    func(at int64) // is told when the call begins
	twice    bool           // the second level is to be looked at once more when leases have been got

	deleted level.Tombs     // seen when the second level was last looked at
	blind   level.Blindness // it could not be asked
	items   []Item[K, V]
	out     []Result[V]
	run     func(context.Context) error
	keys    func(yield func(K) bool)
	err     error // of the call
}

// newJob makes a job for calls of so many items.
func (f *fetcher[K, V]) newJob(size int) *job[K, V] {
	j := &job[K, V]{items: make([]Item[K, V], 0, size), out: make([]Result[V], 0, size)}
	j.run = func(ctx context.Context) error {
		j.err = f.protect(ctx, j.items, j.out)
		return blame(j.out, j.err)
	}
	j.keys = func(yield func(K) bool) {
		for i := range j.items {
			if !yield(j.items[i].Key) {
				return
			}
		}
	}
	return j
}

// consulted says which wants the second level has granted, for which the source has to be asked, and which another process is asking for.
type consulted[K comparable, V any] struct{ granted, mine, taken []*want[K, V] }

// consult asks the second level.
func (f *fetcher[K, V]) consult(j *job[K, V], wants []*want[K, V]) (c consulted[K, V]) {
	j.blind = false
	if f.level == nil || j.ctx.Err() != nil {
		c.mine = wants
		return c
	}
	var found []level.Stored[K, V]
	found, j.deleted, j.blind = f.level.Lookup(j.ctx, keysOf(wants))
	var old []*want[K, V]
	c.granted, old = f.grant(wants, found)
	for n, taken := range f.level.Lease(j.ctx, keysOf(old), j.timeout, j.blind) {
		if taken {
			c.taken = append(c.taken, old[n])
		} else {
			c.mine = append(c.mine, old[n])
		}
	}
	if j.twice && f.level.Leases() && !bool(j.blind) {
		f.consultAgain(j, &c)
	}
	return c
}

// consultAgain looks once more for what the source would be asked for. Another process may have got the value, and ended its lease,
// between the look for the value and the lease that this one has got.
func (f *fetcher[K, V]) consultAgain(j *job[K, V], c *consulted[K, V]) {
	granted, mine := f.grant(c.mine, f.level.LookAgain(j.ctx, keysOf(c.mine)))
	f.level.Release(j.life, keysOf(granted))
	c.granted, c.mine = append(c.granted, granted...), mine
}

// grant takes note of what the second level has for wants, and tells for which that is enough.
func (f *fetcher[K, V]) grant(wants []*want[K, V], found []level.Stored[K, V]) (granted, old []*want[K, V]) {
	for i, w := range wants {
		s := found[i]
		if s.Value != nil {
			w.known = s
		}
		if s.Value != nil && s.LoadedAt > w.newer && (s.Terminal || f.isYoung(s.LoadedAt)) {
			w.result = adoption(s)
			granted = append(granted, w)
		} else {
			old = append(old, w)
		}
	}
	return granted, old
}

// isYoung tells whether a value from then needs no refresh yet.
func (f *fetcher[K, V]) isYoung(loadedAt int64) bool { return f.now()-loadedAt < int64(f.period)/10*9 }

// errKeepsNothing is the failure of a load that is told to keep a value.
var errKeepsNothing = errors.New("autorefresh: unchanged, but there is no value to keep")

// ask calls the source for wants, and judges what it says.
func (f *fetcher[K, V]) ask(j *job[K, V], wants []*want[K, V]) {
	j.items, j.out = j.items[:0], j.out[:0]
	for _, w := range wants {
		item := Item[K, V]{Key: w.key}
		if w.entry != nil {
			item.Old, item.Known = *w.entry.Value.Load(), true
		}
		j.items, j.out = append(j.items, item), append(j.out, Result[V]{Err: ErrNoResult})
	}
	started, err := f.order(j)
	for n, w := range wants {
		switch {
		case errors.Is(err, ErrUnavailable) || errors.Is(err, ErrClosed):
			w.result = result[V]{outcome: postponed, err: err}
		case err != nil:
			w.result = result[V]{outcome: failed, err: err, loadedAt: started}
		default:
			w.result = judge(j.out[n], started)
		}
		if w.entry == nil && w.result.outcome == unchanged {
			w.result = result[V]{outcome: failed, err: fmt.Errorf("%w: %w", errKeepsNothing, ErrUnchanged)}
		}
	}
	clear(j.items)
	clear(j.out)
}

// order calls the source once it may be called. It returns when the call began; the error is [ErrUnavailable] or [ErrClosed] if it did not.
func (f *fetcher[K, V]) order(j *job[K, V]) (int64, error) {
	if f.tracer != nil {
		return f.orderTraced(j)
	}
	return f.orderIn(j.ctx, j)
}

func (f *fetcher[K, V]) orderIn(ctx context.Context, j *job[K, V]) (int64, error) {
	started, err := f.source.Ask(ctx, source.Order[K]{
		Task: j.task, Rank: j.rank, Timeout: j.timeout, Alone: bool(j.blind), Standing: j.standing, Keys: j.keys, Begin: j.begin,
	}, j.run)
	if err == nil {
		err = j.err
	}
	return started, err
}

// protect turns a panic of the refresh function into an error, and errors that would panic later into such.
func (f *fetcher[K, V]) protect(ctx context.Context, items []Item[K, V], out []Result[V]) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", ErrPanicked, v)
		}
	}()
	err = safe.Sound(f.call(ctx, items, out))
	for i := range out {
		out[i].Err = safe.Sound(out[i].Err)
		//nolint:errorlint // what was there before the call, and not an error of the source.
		if out[i].Err == ErrNoResult && !reflect.ValueOf(&out[i].Value).Elem().IsZero() {
			out[i].Err = nil // only the value was assigned
		}
	}
	return err
}

// panicked is the error of a call that did not return, with what recover says.
func panicked(v any) error {
	if v == nil {
		return ErrPanicked
	}
	return fmt.Errorf("%w: %v", ErrPanicked, v)
}

// share gives the second level what the source has answered, and ends the leases. Deleted are the keys that were deleted while the call was
// under way, and from the second level too early; it is called when the answers have been given.
func (f *fetcher[K, V]) share(j *job[K, V], wants []*want[K, V], deleted func() []K) {
	if f.level == nil {
		return
	}
	var fresh []level.Stored[K, V]
	var gone []K
	for _, w := range wants {
		r := &w.result
		s := level.Stored[K, V]{Key: w.key, Value: r.value, LoadedAt: r.loadedAt, Terminal: r.final}
		switch r.outcome {
		case updated, terminal:
			fresh = append(fresh, s)
		case unchanged:
			s.Value = w.entry.Value.Load()
			fresh = append(fresh, s)
		case missing:
			gone = append(gone, w.key)
		}
	}
	f.level.Save(j.life, fresh, j.deleted)
	f.level.Remove(j.life, slices.Concat(gone, deleted())...)
	f.level.Release(j.life, keysOf(wants))
}

// oneByOne makes a BatchFunc, for batches of one, of a RefreshFunc.
func oneByOne[K comparable, V any](refresh RefreshFunc[K, V]) BatchFunc[K, V] {
	return func(ctx context.Context, items []Item[K, V], out []Result[V]) error {
		out[0].Value, out[0].Err = refresh(ctx, items[0].Key, items[0].Old)
		return nil
	}
}

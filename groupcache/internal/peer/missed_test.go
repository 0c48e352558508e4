package peer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// telling is what a fake does with each kind of request that tells it something; nil is success.
type telling struct{ remove, removeMulti, forget, sweep error }

func (r *rig) tells(url string, answers telling) {
	f := r.fakes[url]
	f.with(func() { f.telling = answers })
}

// Sweep takes note of what it is told, with the phase.
func (f *fake) Sweep(ctx context.Context, group string, s writes.Sweep) error {
	return f.remove(ctx, group, []string{s.Prefix + "* " + string(s.Phase)}, func() error { return f.telling.sweep })
}

// Written says that no key was.
func (f *fake) Written(_ context.Context, _ string, _ time.Duration, keys []string) ([]wire.Answer, error) {
	return slices.Repeat([]wire.Answer{{Outcome: wire.Absent}}, len(keys)), nil
}

// What something on the way refuses was tried for ever, and the peer not used meanwhile.
func TestARemovalTakesTheNextWayThatIsOpen(t *testing.T) {
	closed := fmt.Errorf("%w: 405", wire.ErrUndeliverable)
	for _, c := range []struct {
		what                     string
		answers                  telling
		err                      error
		removed, forgot, dropped int
	}{
		{"all ways are open", telling{}, nil, 1, 0, 0},
		{"the key may be in a body", telling{remove: closed}, nil, 1, 0, 0},
		{"it can only forget", telling{remove: closed, removeMulti: closed}, nil, 0, 1, 0},
		{"it can only forget, and is an older version", telling{remove: closed, removeMulti: wire.ErrRefused}, nil, 0, 1, 0},
		{"a key that is too large", telling{remove: wire.ErrTooLarge, removeMulti: wire.ErrTooLarge}, nil, 0, 1, 0},
		{"none is", telling{remove: closed, removeMulti: closed, forget: closed}, wire.ErrUndeliverable, 0, 0, 1},
		{"not authorised", telling{remove: wire.ErrRefused, removeMulti: wire.ErrRefused, forget: wire.ErrRefused}, wire.ErrRefused, 0, 0, 1},
		{"no such group", telling{remove: wire.ErrNoGroup, removeMulti: wire.ErrNoGroup}, nil, 0, 0, 0},
	} {
		inBubble(t, func(t *testing.T) {
			r := start(t, "a")
			p, f := r.pool.Peers()[0], r.fakes["a"]
			r.tells("a", c.answers)
			if err := p.Remove(t.Context(), "g", "k"); !errors.Is(err, c.err) {
				t.Errorf("%s: %v", c.what, err)
			}
			p.Miss(writes.Removal{Group: "g", Key: "k"}, errors.New("as if it were of before")) // and the same for what is kept
			time.Sleep(time.Second)
			if !p.Up() {
				t.Errorf("%s: not used a second later", c.what)
			}
			s := p.Stats()
			if len(f.removed) != 2*c.removed || f.forgot != 2*c.forgot || s.DroppedRemoves != uint64(2*c.dropped) || s.MissedRemoves != 0 {
				t.Errorf("%s: removed %q, forgot %d times, %+v", c.what, f.removed, f.forgot, s)
			}
		})
	}
}

// A removal that is answered, but never done, ends in forgetting, or is given up.
func TestARemovalThatIsNeverDoneIsGivenUp(t *testing.T) {
	answered, silence := fmt.Errorf("%w: 502", wire.ErrForeign), error(syscall.ETIMEDOUT)
	for _, c := range []struct {
		what            string
		answers         telling
		away, back      time.Duration // it is still away after the one, and used again after the other
		forgot, dropped int
	}{
		{"answered, and it can forget", telling{remove: answered, removeMulti: answered}, time.Second, time.Minute, 1, 0},
		{"answered, and it cannot", telling{remove: answered, removeMulti: answered, forget: answered}, 2 * time.Second, time.Minute, 0, 1},
		{"never answered", telling{remove: silence, removeMulti: silence}, 30 * time.Second, 3 * time.Minute, 1, 0},
		{"nothing is ever answered", telling{remove: silence, removeMulti: silence, forget: silence}, time.Minute, 5 * time.Minute, 0, 1},
	} {
		inBubble(t, func(t *testing.T) {
			r := startWith(t, 10, 0, "a")
			p, f := r.pool.Peers()[0], r.fakes["a"]
			r.tells("a", c.answers)
			p.Miss(writes.Removal{Group: "g", Key: "k"}, silence)
			p.Miss(writes.Removal{Group: "g", Key: "l"}, silence)
			time.Sleep(c.away / 20) // the pause between probes is 50 ms here
			if p.Up() {
				t.Errorf("%s: used after %v", c.what, c.away/20)
			}
			time.Sleep(c.back / 20)
			s := p.Stats()
			if !p.Up() || s.MissedRemoves != 0 || f.forgot != c.forgot || (s.DroppedRemoves > 0) != (c.dropped > 0) {
				t.Errorf("%s: up %v, forgot %d times, %+v", c.what, p.Up(), f.forgot, s)
			}
			r.tells("a", telling{})
			p.Miss(writes.Removal{Group: "g", Key: "later"}, silence)
			time.Sleep(time.Second)
			if !p.Up() || len(f.removed) != 1 || f.removed[0] != "g/later" {
				t.Errorf("%s: afterwards up %v, removed %q", c.what, p.Up(), f.removed)
			}
		})
	}
}

// What is missed while the peer is being told of the same key, or is forgetting, is told again.
func TestARemovalThatIsMissedMeanwhileIsNotForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		p, f := r.pool.Peers()[0], r.fakes["a"]
		var seen []int
		slow := func(context.Context) error {
			time.Sleep(100 * time.Millisecond)
			waiting := p.Stats().MissedRemoves
			f.with(func() { seen = append(seen, waiting) })
			return nil
		}
		f.with(func() { f.tell = slow })
		p.Miss(writes.Removal{Group: "g", Key: "k"}, syscall.ECONNREFUSED)
		time.Sleep(100 * time.Millisecond) // it is being told
		p.Miss(writes.Removal{Group: "g", Key: "k"}, syscall.ECONNREFUSED)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(f.removed) < 2 || !p.Up() {
			t.Errorf("it was told %q, up %v", f.removed, p.Up())
		}
		if seen[0] != 1 {
			t.Errorf("while it was told, %d removals were waiting", seen[0])
		}
	})
}

// Each write that a peer missed while it was being told of those before began its outage anew: with
// steady writes it never ended.
func TestSteadyWritesDoNotKeepAPeerAway(t *testing.T) {
	for what, every := range map[string]time.Duration{"slower than it is told": 30 * time.Millisecond, "faster": time.Millisecond} {
		inBubble(t, func(t *testing.T) {
			r := start(t, "a")
			p, f := r.pool.Peers()[0], r.fakes["a"]
			var told atomic.Int64
			var writers sync.WaitGroup
			f.with(func() {
				f.tell = func(ctx context.Context) error { // far away, and some of it is lost
					select {
					case <-time.After(20 * time.Millisecond):
						if told.Add(1)%20 == 0 {
							return syscall.ECONNRESET
						}
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			})
			for i := range 5000 {
				p.Miss(writes.Removal{Group: "g", Key: fmt.Sprint("before ", i)}, syscall.ECONNREFUSED)
			}
			began := time.Now()
			for i := 0; !p.Up() && time.Since(began) < time.Minute; i++ {
				time.Sleep(every)
				key := fmt.Sprint("k", i)
				writers.Go(func() {
					if err := p.Remove(t.Context(), "g", key); err != nil {
						p.Miss(writes.Removal{Group: "g", Key: key}, err)
					}
				})
			}
			writers.Wait()
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s: still away after %v", what, took)
			}
			time.Sleep(time.Second)
			if s := p.Stats(); s.MissedRemoves > 0 {
				t.Errorf("%s: %d removals are waiting", what, s.MissedRemoves)
			}
		})
	}
}

// Each refused removal was tried ten times anew, so that a peer behind something that answers
// writes was away nearly always.
func TestWhatWasGivenUpOnceIsGivenUpAtOnce(t *testing.T) {
	for _, answer := range []error{fmt.Errorf("%w: 500", wire.ErrForeign), syscall.ECONNRESET} {
		inBubble(t, func(t *testing.T) {
			r := start(t, "a")
			p := r.pool.Peers()[0]
			r.tells("a", telling{remove: answer, removeMulti: answer, forget: answer})
			p.Miss(writes.Removal{Group: "g", Key: "first"}, answer)
			time.Sleep(10 * time.Minute)
			up := 0
			for i := range 600 {
				if i%10 == 0 {
					if err := p.Remove(t.Context(), "g", fmt.Sprint(i)); err != nil {
						p.Miss(writes.Removal{Group: "g", Key: fmt.Sprint(i)}, err)
					}
				}
				time.Sleep(100 * time.Millisecond)
				if p.Up() {
					up++
				}
			}
			if up < 500 {
				t.Errorf("%v: up %d of 600 times", answer, up)
			}
		})
	}
}

// Keys of any length were kept for a peer that is down, up to a number of them.
func TestMissedRemovalsAreBoundedInBytes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		p, f := r.pool.Peers()[0], r.fakes["a"]
		f.with(func() { f.tell = func(context.Context) error { return syscall.ECONNREFUSED } })
		for i := range 100 {
			p.Miss(writes.Removal{Group: "g", Key: fmt.Sprint(i, strings.Repeat("k", 1<<20))}, syscall.ECONNREFUSED)
		}
		if s := p.Stats(); s.MissedRemoves > 64 || s.LostRemoves != uint64(100-s.MissedRemoves) {
			t.Errorf("%d removals of a mebibyte each are kept, %d lost", s.MissedRemoves, s.LostRemoves)
		}
		f.with(func() { f.tell = nil })
		time.Sleep(time.Minute)
		if s := p.Stats(); !p.Up() || f.forgot != 1 || s.MissedRemoves != 0 {
			t.Errorf("up %v, forgot %d times, %+v", p.Up(), f.forgot, s)
		}
	})
}

func TestARemovalByPrefixTakesTheWayThatIsOpen(t *testing.T) {
	closed := fmt.Errorf("%w: 405", wire.ErrUndeliverable)
	for _, c := range []struct {
		what    string
		answers telling
		err     error
		removed []string
		forgot  int
	}{
		{"it knows it", telling{}, nil, []string{"g/a* begin", "g/a* once"}, 0},
		{"an older version", telling{sweep: wire.ErrRefused}, nil, nil, 2},
		{"POST is not let through", telling{sweep: closed}, nil, nil, 2},
		{"nothing is", telling{sweep: closed, forget: closed}, wire.ErrUndeliverable, nil, 0},
		{"no such group", telling{sweep: wire.ErrNoGroup}, nil, nil, 0},
	} {
		inBubble(t, func(t *testing.T) {
			r := start(t, "a")
			p, f := r.pool.Peers()[0], r.fakes["a"]
			r.tells("a", c.answers)
			if err := p.Sweep(t.Context(), "g", writes.Sweep{Phase: writes.Begin, ID: "1", Prefix: "a"}); !errors.Is(err, c.err) {
				t.Errorf("%s: %v", c.what, err)
			}
			p.Miss(writes.Removal{Group: "g", Key: "a", Prefix: true}, errors.New("as if it were of before")) // and the same for what is kept
			time.Sleep(time.Second)
			if s := p.Stats(); !p.Up() || s.MissedRemoves != 0 || !slices.Equal(f.removed, c.removed) || f.forgot != c.forgot {
				t.Errorf("%s: removed %q, forgot %d times, up: %v, %+v", c.what, f.removed, f.forgot, p.Up(), s)
			}
		})
	}
}

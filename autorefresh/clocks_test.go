package autorefresh_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// ticking is a wired as a process has it whose clock is ahead, that is some way away, and that may
// be cut off.
type ticking struct {
	*wired

	ahead, way time.Duration
	cutOff     atomic.Bool
}

var errCutOff = errors.New("no route to host")

// redated has all dates in an envelope, or in a tombstone, moved.
func redated(data []byte, by time.Duration) []byte {
	const loadedAt, end, bounded = 3, 11, 1 << 2
	const stone, mark, salt = 1 << 1, 1 + 8 + 12, 26
	at := []int{loadedAt}
	switch {
	case len(data) < 11:
		return data
	case data[2] == stone:
		at = []int{4, 3 + mark + salt, 3 + mark + salt + 8 + 1}
	case data[2]&bounded != 0:
		at = append(at, end)
	}
	moved := append([]byte(nil), data...)
	for _, i := range at {
		if len(data) >= i+8 {
			binary.BigEndian.PutUint64(moved[i:], binary.BigEndian.Uint64(data[i:])+uint64(by))
		}
	}
	return moved
}

// call takes its way there and back.
func (s *ticking) call(do func() error) error {
	time.Sleep(s.way)
	defer time.Sleep(s.way)
	if s.cutOff.Load() {
		return errCutOff
	}
	return do()
}

func (s *ticking) GetMulti(ctx context.Context, keys []string) (map[string][]byte, error) {
	found := make(map[string][]byte)
	err := s.call(func() error {
		values, err := s.wired.GetMulti(ctx, keys)
		for name, data := range values {
			found[name] = redated(data, -s.ahead)
		}
		return err
	})
	return found, err
}

func (s *ticking) SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error {
	dated := make(map[string][]byte)
	for name, data := range values {
		dated[name] = redated(data, s.ahead)
	}
	return s.call(func() error { return s.wired.SetMulti(ctx, dated, ttl) })
}

func (s *ticking) SetUnlessMarked(ctx context.Context, values map[string]autorefresh.Marked, ttl time.Duration) error {
	dated := make(map[string]autorefresh.Marked)
	for name, v := range values {
		dated[name] = autorefresh.Marked{Value: redated(v.Value, s.ahead), Mark: v.Mark, Seen: redated(v.Seen, s.ahead)}
	}
	return s.call(func() error { return s.wired.SetUnlessMarked(ctx, dated, ttl) })
}

func (s *ticking) Delete(ctx context.Context, keys ...string) error {
	return s.call(func() error { return s.wired.Delete(ctx, keys...) })
}

// processes are caches that share a second level, each with a clock of its own.
type processes struct {
	*wired
	*database

	caches []*cache
	stores []*ticking
}

func startProcesses(t *testing.T, o options, ahead ...time.Duration) *processes {
	t.Helper()
	p := &processes{wired: newWired(t), database: new(database)}
	for i, by := range ahead {
		s := &ticking{wired: p.wired, ahead: by, way: time.Duration(i) * time.Millisecond}
		o.Store, o.Watch, o.NoBreaker = s, true, true
		c, err := autorefresh.New(p.refresh, o)
		if err != nil {
			t.Fatal(err)
		}
		p.caches, p.stores = append(p.caches, c), append(p.stores, s)
	}
	for _, c := range p.caches {
		_, _ = c.Load(t.Context(), 1)
	}
	settle(time.Second)
	return p
}

func (p *processes) close(t *testing.T) {
	t.Helper()
	for _, c := range p.caches {
		mustClose(t, c)
	}
}

// old tells which processes have a value that the source has no more.
func (p *processes) old() (text string) {
	for i, c := range p.caches {
		if v, ok := c.Get(1); ok && v != int(p.value.Load()) {
			text += fmt.Sprintf("process %d has %d, want %d; ", i, v, p.value.Load())
		}
	}
	return text
}

// A process took its own old value for what another had just set, and kept what had been deleted,
// for the rest of its period, if its clock was ahead.
func TestChangesReachProcessesWhoseClocksAreAhead(t *testing.T) {
	ahead := []time.Duration{0, 2 * time.Second, -2 * time.Second}
	for by := range ahead {
		for other := range ahead {
			for _, what := range []string{"set", "delete"} {
				synctest.Test(t, func(t *testing.T) {
					p := startProcesses(t, options{Period: time.Hour}, ahead...)
					defer p.close(t)
					_ = p.caches[other].Refresh(t.Context(), 1)
					settle(100 * time.Millisecond)
					calls := p.calls.Load()
					v := p.value.Add(1)
					if what == "set" {
						_ = p.caches[by].Set(t.Context(), 1, int(v))
					} else {
						p.caches[by].Delete(1)
					}
					settle(100 * time.Millisecond)
					if old := p.old(); old != "" || p.calls.Load() > calls {
						t.Errorf("process %d refreshes, then %d has %s: %s%d calls of the source", other, by, what, old, p.calls.Load()-calls)
					}
				})
			}
		}
	}
}

// What could not be told of a deletion, or of a value that was set, was told once the store was
// back, and deleted what others had set in the meantime.
func TestWhatIsToldLateGivesWayToWhatWasDoneSince(t *testing.T) {
	for _, what := range []string{"delete", "set"} {
		for _, later := range []time.Duration{100 * time.Millisecond, 20 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				p := startProcesses(t, options{Period: time.Minute}, 0, 0, 0)
				defer p.close(t)
				a, b := p.caches[0], p.caches[1]
				p.stores[0].cutOff.Store(true)
				if what == "delete" {
					a.Delete(1)
				} else {
					_ = a.Set(t.Context(), 1, int(p.value.Add(1)))
				}
				settle(later)
				_ = b.Set(t.Context(), 1, int(p.value.Add(1)))
				settle(time.Second)
				p.stores[0].cutOff.Store(false)
				calls := p.calls.Load()
				_, _ = a.Load(t.Context(), 2) // it has to do with the second level
				settle(10 * time.Second)
				if old := p.old(); old != "" {
					t.Errorf("%s, and set by another %v later: %s", what, later, old)
				}
				if n := p.calls.Load() - calls - 1; later > p.period()/10 && n > 0 {
					t.Errorf("%s, and set by another %v later: %d calls of the source", what, later, n)
				}
			})
		}
	}
}

func (*processes) period() time.Duration { return time.Minute }

// history does at random what users do, with calls under way, cuts and outages, and returns its
// steps, and the processes with an old value in the end.
func (p *processes) history(t *testing.T, r *rand.Rand) (log []string, old string) {
	var calls sync.WaitGroup
	for range 3 + r.IntN(8) {
		i := r.IntN(len(p.caches))
		c := p.caches[i]
		p.cost.Store(int64(r.IntN(300)) * int64(time.Millisecond))
		op := []string{"delete", "set", "invalidate", "load", "load", "refresh", "cut", "down", "rest"}[r.IntN(9)]
		log = append(log, fmt.Sprintf("%d:%s", i, op))
		switch op {
		case "delete":
			p.value.Add(1)
			c.Delete(1)
		case "set":
			_ = c.Set(t.Context(), 1, int(p.value.Add(1)))
		case "invalidate":
			_ = c.InvalidateAll(t.Context())
		case "load":
			calls.Go(func() { _, _ = c.Load(t.Context(), 1) })
		case "refresh":
			calls.Go(func() { _ = c.Refresh(t.Context(), 1) })
		case "cut":
			if !p.cut.CompareAndSwap(false, true) {
				p.mend()
			}
		case "down":
			p.stores[i].cutOff.Store(!p.stores[i].cutOff.Load())
		default:
			settle(time.Duration(r.IntN(20)) * time.Second)
		}
		settle(time.Duration(r.IntN(400)) * time.Millisecond)
	}
	calls.Wait()
	for _, s := range p.stores {
		s.cutOff.Store(false)
	}
	for round := range 2 { // all have to do with the second level
		settle(2 * time.Second)
		for i, c := range p.caches {
			_, _ = c.Load(t.Context(), 100*round+100+i)
		}
	}
	p.mend()
	settle(10 * time.Second)
	return log, p.old()
}

func TestNoValueIsOldForLongWhateverTheClocks(t *testing.T) {
	for _, ahead := range [][]time.Duration{{0, 0, 0}, {0, 2 * time.Second, -2 * time.Second}} {
		for seed := range uint64(cut(400, 4)) {
			synctest.Test(t, func(t *testing.T) {
				p := startProcesses(t, options{Period: time.Hour}, ahead...)
				defer p.close(t)
				if log, old := p.history(t, rand.New(rand.NewPCG(seed, 0))); old != "" {
					t.Errorf("clocks %v ahead, seed %d: %s\n%s", ahead, seed, old, strings.Join(log, " "))
				}
			})
		}
	}
}

// A change after one by a clock that is hours ahead was dated after that, so that others ignored
// it; and late news gave way to such a change, however old that was.
func TestAClockFarAheadDatesNobodysChanges(t *testing.T) {
	for _, what := range []string{"set", "delete"} {
		synctest.Test(t, func(t *testing.T) {
			p := startProcesses(t, options{Period: time.Hour}, 0, 0, 3*time.Hour)
			defer p.close(t)
			fast, a, b := p.caches[2], p.caches[0], p.caches[1]
			if what == "set" {
				_ = fast.Set(t.Context(), 1, int(p.value.Add(1)))
			} else {
				fast.Delete(1)
			}
			settle(time.Second)
			_ = a.Set(t.Context(), 1, int(p.value.Add(1)))
			settle(time.Second)
			calls := p.calls.Load()
			_, _ = b.Load(t.Context(), 1)
			if old := p.old(); old != "" || p.calls.Load() > calls {
				t.Errorf("%s hours ahead, then set: %s%d calls of the source", what, old, p.calls.Load()-calls)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			p := startProcesses(t, options{Period: time.Minute}, 0, 0, 3*time.Hour)
			defer p.close(t)
			fast, a, b := p.caches[2], p.caches[0], p.caches[1]
			if what == "set" {
				_ = fast.Set(t.Context(), 1, int(p.value.Load()))
			} else {
				fast.Delete(1)
			}
			settle(time.Second)
			_, _ = b.Load(t.Context(), 1)
			settle(time.Second)
			p.stores[0].cutOff.Store(true)
			p.value.Add(1)
			a.Delete(1)
			settle(10 * time.Second)
			p.stores[0].cutOff.Store(false)
			_, _ = a.Load(t.Context(), 2) // it has to do with the second level
			settle(5 * time.Second)
			_, _ = a.Load(t.Context(), 1)
			if v, _ := a.Get(1); v != int(p.value.Load()) {
				t.Errorf("%s hours ahead, then deleted and told late: %d is there, want %d", what, v, p.value.Load())
			}
		})
	}
}

package autorefresh_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

var errPart = errors.New("the second level has failed in part")

// partial is a second level that is slow. While it fails it refuses some calls, before or after it
// has done what it was asked, and answers others in part.
type partial struct {
	marking
	explored *explored
	failing  *atomic.Bool
}

func (p partial) do(f func() error) error {
	p.explored.wait(30 * time.Millisecond)
	fails := p.failing.Load() && p.explored.draw(3) == 0
	if fails && p.explored.draw(2) == 0 {
		return errPart
	}
	err := f()
	p.explored.wait(30 * time.Millisecond)
	if fails {
		return errPart
	}
	return err
}

func (p partial) GetMulti(ctx context.Context, keys []string) (found map[string][]byte, err error) {
	err = p.do(func() error {
		found, err = p.marking.GetMulti(ctx, keys)
		return err
	})
	for key := range found {
		if err != nil && p.explored.draw(2) == 0 {
			delete(found, key)
		}
	}
	return found, err
}

func (p partial) SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error {
	return p.do(func() error { return p.marking.SetMulti(ctx, values, ttl) })
}

func (p partial) Delete(ctx context.Context, keys ...string) error {
	return p.do(func() error { return p.marking.Delete(ctx, keys...) })
}

func (p partial) SetUnlessMarked(ctx context.Context, values map[string]autorefresh.Marked, ttl time.Duration) error {
	return p.do(func() error { return p.marking.SetUnlessMarked(ctx, values, ttl) })
}

// raise writes a key that others write as well: the version there is goes up, or is deleted.
func (e *explored) raise(c *cache, key int) {
	e.write(key, func(version int) error {
		known := false
		if e.draw(2) == 0 {
			_, err := c.Update(e.t.Context(), key, func(old int, is bool) (int, bool) {
				known = is
				return max(old, version), is
			})
			if known && err == nil {
				return nil
			}
		}
		_, err := c.DeleteContext(e.t.Context(), key)
		return err
	})
}

// One process with a second level that takes its time, and for a while fails in part, never sees
// undone what several of its goroutines have written.
func TestExpeditionsWithASlowSecondLevel(t *testing.T) {
	explorations(t, func(t *testing.T, seed uint64) {
		e, o := explore(t, seed, 6), choices(seed)
		switch seed % 6 {
		case 1:
			o.MaxStale = 3 * time.Second
		case 2:
			o.NegativeTTL = 500 * time.Millisecond
		case 3:
			o.First = autorefresh.FirstImmediate
		case 4:
			o.Period = 200 * time.Millisecond
		case 5:
			o.StoreTTL = time.Second
		}
		o.MaxLoads = e.keys // with fewer places, the newest loads first, an old one would wait for long
		var failing atomic.Bool
		o.Store = partial{marking{leasing{newShared()}}, e, &failing}
		e.fail(func() { failing.Store(true) }, func() { failing.Store(false) })
		c, err := autorefresh.NewBatch(e.source, o)
		if err != nil {
			t.Fatal(err)
		}
		e.working.Go(func() {
			for e.going(5 * time.Second) {
				_ = c.InvalidateAll(t.Context())
			}
		})
		for key := range e.keys {
			for range 3 {
				e.working.Go(func() {
					for e.going(1500 * time.Millisecond) {
						e.raise(c, key)
					}
				})
				e.keepReading(c, key, 200*time.Millisecond, 0, always)
			}
		}
		e.sound(c)
	})
}

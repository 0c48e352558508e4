package peer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

func (f *fake) Set(ctx context.Context, _, _, _ string, _ int64, alive func()) error {
	return f.told(context.WithValue(ctx, aliveKey{}, alive))
}

// aliveKey is where a Set has what is called when a part of it has gone out.
type aliveKey struct{}

// after is a Get whose answer takes some time to come, if the peer is waited for.
func after(rtt time.Duration) func(context.Context, func()) (wire.Answer, error) {
	return func(ctx context.Context, _ func()) (wire.Answer, error) {
		select {
		case <-time.After(rtt):
			return wire.Answer{Value: "v", Marked: true}, nil
		case <-ctx.Done():
			return wire.Answer{}, ctx.Err()
		}
	}
}

// far has a fake answer as from far away.
func (f *fake) far(rtt time.Duration) {
	f.with(func() {
		f.get, f.tell = after(rtt), nil
		f.probe = func() (wire.Greeting, error) {
			time.Sleep(3 * rtt) // a greeting and two tests of the way
			return ours()
		}
		f.tell = func(ctx context.Context) error {
			_, err := after(rtt)(ctx, nil)
			return err
		}
	})
}

// A peer that was further away than 250 ms was cut off before its first answer, so that nothing was
// ever learnt of it: two of thirty keys were asked of it.
func TestAPeerFarAwayIsUsed(t *testing.T) {
	for _, rtt := range []time.Duration{20, 100, 250, 300, 500, 900} {
		rtt *= time.Millisecond
		inBubble(t, func(t *testing.T) {
			r := start(t)
			r.fakes["a"] = &fake{}
			r.fakes["a"].far(rtt)
			if err := r.pool.Set([]string{"a"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			p := r.pool.Peers()[0]
			for i := range 200 {
				if _, err := p.Get(t.Context(), "g", "k"); err != nil {
					t.Fatalf("%v: request %d: %v", rtt, i, err)
				}
				if err := p.Remove(t.Context(), "g", "k"); err != nil {
					t.Fatalf("%v: removal %d: %v", rtt, i, err)
				}
			}
			// It hangs: the limit has followed what its answers took.
			r.fakes["a"].with(func() { r.fakes["a"].get = hang })
			begun := time.Now()
			_, err := p.Get(t.Context(), "g", "k")
			if took := time.Since(begun); err == nil || took > max(30*time.Millisecond, 6*rtt) {
				t.Errorf("%v: %v, given up after %v", rtt, err, took)
			}
		})
	}
}

// A peer of the original, of which no signs of life are known, has PeerTimeout, or what its
// distance asks for.
func TestAnOriginalFarAwayIsUsed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t)
		f := &fake{}
		r.fakes["a"] = f
		f.far(700 * time.Millisecond)
		f.with(func() {
			f.probe = func() (wire.Greeting, error) {
				time.Sleep(1400 * time.Millisecond) // it connects
				return wire.Greeting{}, nil
			}
			f.get = func(ctx context.Context, alive func()) (wire.Answer, error) {
				a, err := after(1400*time.Millisecond)(ctx, alive)
				a.Marked = false
				return a, err
			}
		})
		if err := r.pool.Set([]string{"a"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		for i := range 10 {
			if _, err := r.pool.Peers()[0].Get(t.Context(), "g", "k"); err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
		}
	})
}

// When the way to a peer became another one, longer than its limit, the limit stayed: it was cut
// off, found up, cut off again, for ever.
func TestAWayThatGetsLongerIsLearnt(t *testing.T) {
	for _, longer := range []time.Duration{150, 300, 600} {
		longer *= time.Millisecond
		inBubble(t, func(t *testing.T) {
			r := start(t, "a")
			r.fakes["a"].far(20 * time.Millisecond)
			p := r.pool.Peers()[0]
			for range 2000 {
				if _, err := p.Get(t.Context(), "g", "k"); err != nil {
					t.Fatal(err)
				}
			}
			r.fakes["a"].far(longer)
			failed := 0
			for range 200 {
				if _, err := p.Get(t.Context(), "g", "k"); err != nil {
					failed++
					time.Sleep(4 * time.Second)
				}
			}
			if failed > 6 {
				t.Errorf("%v: %d of 200 requests failed", longer, failed)
			}
		})
	}
}

// A Set had one second from its beginning to its end, however large the value, and although its
// bytes flowed.
func TestASetIsBoundedByItsProgress(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		p := r.pool.Peers()[0]
		value := string(make([]byte, 1<<20))
		flows := func(pieces int, then error) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				alive, _ := ctx.Value(aliveKey{}).(func())
				for range pieces {
					select {
					case <-time.After(900 * time.Millisecond):
						alive()
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				if then != nil {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
		}
		for _, pieces := range []int{1, 10, 100} {
			r.fakes["a"].with(func() { r.fakes["a"].tell = flows(pieces, nil) })
			if err := p.Set(t.Context(), "g", "k", peer.Value{Value: value}); err != nil {
				t.Errorf("%d pieces: %v", pieces, err)
			}
		}
		for pieces, most := range map[int]time.Duration{0: 2 * time.Second, 3: 6 * time.Second} {
			r.fakes["a"].with(func() { r.fakes["a"].tell = flows(pieces, errors.New("stalls")) })
			begun := time.Now()
			err := p.Set(t.Context(), "g", "k", peer.Value{Value: value})
			if took := time.Since(begun); !errors.Is(err, wire.ErrUnavailable) || took > most {
				t.Errorf("stalled after %d pieces: %v after %v", pieces, err, took)
			}
		}
	})
}

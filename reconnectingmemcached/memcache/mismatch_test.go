package memcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

const (
	mismatchCallers = 64
	keysPerCaller   = 4
	roughLife       = 300 * time.Millisecond // of a connection, on average
)

// TestMismatch lets 64 callers, with deadlines of 0 to 2 ms, cancellations and none, loose on
// servers that refuse writes, answer large ones twice and turn connections away, behind a network
// that splits at random bytes, delays, holds up, resets and delivers late. Each value carries its
// key and a number that grows with each Set of its only writer. No reply may be another's, and no
// value older than the last Set that succeeded, or failed with an unknown outcome. A connection
// that is given up must be reset, or its bytes arrive late.
func TestMismatch(t *testing.T) {
	duration := 900 * time.Millisecond
	if soak() {
		duration = 200 * time.Second
	}
	t.Run("plain", func(t *testing.T) {
		fake := testutil.StartFake(t)
		way := testutil.StartRough(t, fake.Addr(), testutil.RoughOptions{Life: roughLife, Stall: 130 * time.Millisecond})
		o := memcache.Options{Servers: []string{way.Addr()}, HangTimeout: -1} // else calls that are held up are ended at once
		mismatch(t, duration, o, nil, []*testutil.Rough{way}, fake)
	})
	t.Run("name with two addresses", func(t *testing.T) {
		fakes := []*testutil.Fake{testutil.StartFake(t), testutil.StartFake(t)}
		first := testutil.StartRough(t, fakes[0].Addr(), testutil.RoughOptions{Life: roughLife})
		_, port, _ := net.SplitHostPort(first.Addr())
		second := testutil.StartRough(t, fakes[1].Addr(), testutil.RoughOptions{Addr: "127.0.0.2:" + port, Life: roughLife})
		addrs := [2]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}
		mismatch(t, duration, memcache.Options{Servers: []string{"cache.test:" + port}}, rotate(addrs),
			[]*testutil.Rough{first, second}, fakes...)
	})
	t.Run("tls", func(t *testing.T) {
		fake, dial := secureFake(t)
		way := testutil.StartRough(t, fake.Addr(), testutil.RoughOptions{Life: roughLife})
		mismatch(t, duration, memcache.Options{Servers: []string{way.Addr()}, DialContext: dial}, nil, []*testutil.Rough{way}, fake)
	})
}

type lookup = func(ctx context.Context, host string) ([]netip.Addr, error)

func mismatch(t *testing.T, duration time.Duration, o memcache.Options, look lookup, ways []*testutil.Rough, fakes ...*testutil.Fake) {
	t.Helper()
	for _, f := range fakes {
		f.SetFault(unreliable)
	}
	o.Logger = slog.New(slog.DiscardHandler)
	o.Timeout, o.ConsecutiveFailures, o.ReportUnavailable = 200*time.Millisecond, 1<<30, true
	c := newClient(t, o)
	if look != nil {
		if err := errors.Join(c.SetLookup(look), c.SetGrace(time.Hour)); err != nil { // a move may bring old values
			t.Fatal(err)
		}
	}
	end := time.Now().Add(duration)
	var answered atomic.Int64
	var callers sync.WaitGroup
	for w := range mismatchCallers {
		callers.Go(func() {
			o := &owner{t: t, client: c, id: w}
			for time.Now().Before(end) && !t.Failed() {
				ctx, cancel := hurry(t.Context())
				o.act(ctx)
				cancel()
				time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
			}
			answered.Add(o.answered)
		})
	}
	callers.Wait()
	t.Logf("%d calls were answered; %+v", answered.Load(), c.Stats())
	if answered.Load() < 20 {
		t.Errorf("only %d calls were answered: the stress did not run", answered.Load())
	}
	for _, way := range ways {
		if n := way.Revived(); n > 0 {
			t.Errorf("%d connections were given up without a reset, and what was on its way there arrived late", n)
		}
	}
}

// unreliable makes servers refuse large values now and then, answer them twice, and turn
// connections away.
func unreliable(cmd testutil.Command) testutil.Fault {
	switch {
	case cmd.Verb == testutil.VerbConnect && rand.IntN(30) == 0:
		return testutil.TooManyConns()
	case cmd.Verb != "set" || len(cmd.Data) <= memcache.LargeValue:
		return testutil.Fault{}
	}
	switch rand.IntN(30) {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		return testutil.ServerError(refusedText)
	case 8, 9:
		return testutil.ExtraReplyAfter(time.Duration(rand.IntN(1000)) * time.Microsecond)
	}
	return testutil.Fault{}
}

const refusedText = "out of memory storing object"

// hurry returns a context that ends soon, or not.
func hurry(parent context.Context) (context.Context, context.CancelFunc) {
	soon := time.Duration(rand.Int64N(int64(2 * time.Millisecond)))
	switch rand.IntN(6) {
	case 0:
		return context.WithTimeout(parent, soon)
	case 1:
		ctx, cancel := context.WithCancel(parent)
		time.AfterFunc(soon, cancel)
		return ctx, cancel
	}
	return context.WithCancel(parent)
}

// owner is a caller, and the only writer of its keys.
type owner struct {
	t        *testing.T
	client   *memcache.Client
	id       int
	last     int                // number of the last Set
	least    [keysPerCaller]int // what a read may return at least
	counter  uint64             // the last known value of the counter
	answered int64
}

func (o *owner) key(k int) string { return fmt.Sprintf("owner%d.%d", o.id, k) }

func (o *owner) act(ctx context.Context) {
	k := 1 + rand.IntN(keysPerCaller-1)
	switch rand.IntN(10) {
	case 0, 1:
		o.set(ctx, k, 10+rand.IntN(300))
	case 2: // large values have a key of their own, lest they fill the way; a small one comes on another connection
		o.set(ctx, 0, rand.IntN(2)*memcache.LargeValue+1+rand.IntN(1<<10))
		it, err := o.client.GetContext(ctx, o.key(0))
		o.check("Get", 0, it, err)
	case 3:
		o.increment(ctx)
	case 4:
		o.multi(ctx)
	case 5:
		it, err := o.client.GetAndTouchContext(ctx, o.key(k), 0)
		o.check("GetAndTouch", k, it, err)
	case 6:
		o.other(ctx)
	default:
		it, err := o.client.GetContext(ctx, o.key(k))
		o.check("Get", k, it, err)
	}
}

func (o *owner) set(ctx context.Context, k, size int) {
	o.last++
	value := append([]byte(o.key(k)+"|"+strconv.Itoa(o.last)+"|"), bytes.Repeat([]byte("."), size)...)
	err := o.client.SetContext(ctx, &memcache.Item{Key: o.key(k), Value: value})
	switch {
	case errors.Is(err, memcache.ErrServerError): // the old value is the server's to keep
		if !bytes.Contains([]byte(err.Error()), []byte(refusedText)) {
			o.t.Errorf("Set(%q) was answered %v", o.key(k), err)
		}
		return
	case err == nil:
		o.answered++
	}
	o.least[k] = o.last
}

// check judges what a read returned.
func (o *owner) check(op string, k int, it *memcache.Item, err error) {
	if errors.Is(err, memcache.ErrCacheMiss) {
		o.answered++
	}
	if err != nil {
		return
	}
	o.answered++
	key, rest, _ := bytes.Cut(it.Value, []byte("|"))
	number, _, _ := bytes.Cut(rest, []byte("|"))
	n, err := strconv.Atoi(string(number))
	switch {
	case it.Key != o.key(k) || string(key) != o.key(k) || err != nil:
		o.t.Errorf("%s(%q) = the value of %q: %.60q", op, o.key(k), it.Key, it.Value)
	case n < o.least[k] || n > o.last:
		o.t.Errorf("%s(%q) = value %d, but %d was written since; the last is %d", op, o.key(k), n, o.least[k], o.last)
	}
}

func (o *owner) multi(ctx context.Context) {
	var keys []string
	for k := 1; k < keysPerCaller; k++ {
		keys = append(keys, o.key(k))
	}
	items, _ := o.client.GetMultiContext(ctx, keys)
	for i, key := range keys {
		if it := items[key]; it != nil {
			o.check("GetMulti", i+1, it, nil)
		}
	}
}

// increment counts in a range of numbers that is this caller's alone.
func (o *owner) increment(ctx context.Context) {
	key := "counter" + strconv.Itoa(o.id)
	from := uint64(o.id+1) * 1_000_000_000
	n, err := o.client.IncrementContext(ctx, key, 1)
	switch {
	case errors.Is(err, memcache.ErrCacheMiss):
		_ = o.client.AddContext(ctx, &memcache.Item{Key: key, Value: []byte(strconv.FormatUint(from, 10))})
	case errors.Is(err, memcache.ErrServerError):
		o.t.Errorf("Increment(%q): %v", key, err)
	case err != nil:
	case n <= o.counter || n <= from || n > from+1_000_000:
		o.t.Errorf("Increment(%q) = %d after %d, in the range from %d", key, n, o.counter, from)
	default:
		o.answered++
		o.counter = n
	}
}

// other makes calls whose only true answer is known.
func (o *owner) other(ctx context.Context) {
	absent := fmt.Sprintf("absent%d.%d", o.id, o.last)
	item := &memcache.Item{Key: absent, Value: []byte("never"), CasID: 1 << 63}
	for name, call := range map[string]struct {
		err  error
		want error
	}{
		"Touch":          {o.client.TouchContext(ctx, absent, 1), memcache.ErrCacheMiss},
		"Replace":        {o.client.ReplaceContext(ctx, item), memcache.ErrNotStored},
		"CompareAndSwap": {o.client.CompareAndSwapContext(ctx, item), memcache.ErrCacheMiss},
		"Delete":         {o.client.DeleteContext(ctx, absent), memcache.ErrCacheMiss},
	} {
		switch {
		case errors.Is(call.err, call.want):
			o.answered++
		case call.err == nil, !errors.Is(call.err, memcache.ErrServerDown) && !errors.Is(call.err, context.Canceled) && !errors.Is(call.err, context.DeadlineExceeded):
			o.t.Errorf("%s(%q) = %v, want %v", name, absent, call.err, call.want)
		}
	}
}

package memcache_test

import (
	"context"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// besideLarge is a server of values of a size, and where they were asked for.
type besideLarge struct {
	*memcache.Client
	fake  *testutil.Fake
	keys  []string
	dials int
	limit int // of dials, from which on there is no connection to be had
	conns []int
}

func playBeside(t *testing.T, refuse func(b *besideLarge) (net.Conn, error), play func(b *besideLarge)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &besideLarge{fake: testutil.StartFake(t, testutil.FakeOptions{InMemory: true}), keys: keysOf(numbers(0, 10)...), limit: 1000}
		c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{b.fake.Addr()}, DialContext: b.dial(refuse)})
		check(t, err)
		b.Client = c
		b.store(t, 50_000)
		b.fake.SetFault(func(cmd testutil.Command) testutil.Fault {
			if len(cmd.Keys) < 2 {
				return testutil.Fault{}
			}
			b.conns = append(b.conns, cmd.Conn)
			return testutil.DelayReply(200 * time.Millisecond)
		})
		play(b)
		check(t, c.Close())
	})
}

func (b *besideLarge) dial(refuse func(b *besideLarge) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if b.dials++; b.dials > b.limit {
			return refuse(b)
		}
		return b.fake.Dial(ctx, network, addr)
	}
}

func (b *besideLarge) store(t *testing.T, size int) {
	t.Helper()
	for _, key := range b.keys {
		check(t, b.Set(&memcache.Item{Key: key, Value: make([]byte, size)}))
	}
}

// multi returns how long a Get takes that begins during a GetMulti.
func (b *besideLarge) multi(t *testing.T) (waited time.Duration) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if items, err := b.GetMulti(b.keys); err != nil || len(items) != len(b.keys) {
			t.Errorf("GetMulti = %d items, %v", len(items), err)
		}
	}()
	synctest.Wait()
	began := time.Now()
	if _, err := b.Get("small"); err != memcache.ErrCacheMiss { //nolint:errorlint // the very value.
		t.Errorf("Get = %v", err)
	}
	waited = time.Since(began)
	<-done
	return waited
}

// TestGetBesideALargeReply does not wait for it, once the server's values are known to be large,
// and does without a second connection once they are not.
func TestGetBesideALargeReply(t *testing.T) {
	t.Parallel()
	playBeside(t, nil, func(b *besideLarge) {
		for n, want := range []time.Duration{200 * time.Millisecond, 0, 0} {
			if waited := b.multi(t); waited != want {
				t.Errorf("large GetMulti %d: a Get waited %v, want %v", n, waited, want)
			}
		}
		b.store(t, 100)
		b.multi(t)
		b.multi(t)
		if first := b.conns[0]; first != b.conns[4] || slices.Contains(b.conns[1:4], first) || b.conns[1] != b.conns[3] {
			t.Errorf("connections %v, want those of large replies alone", b.conns)
		}
	})
}

// TestNoConnectionForLargeReplies: they come on the connection that all share; another is tried now
// and then, and nobody is blamed.
func TestNoConnectionForLargeReplies(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: net.UnknownNetworkError("refused")}
	for what, refuse := range map[string]func(b *besideLarge) (net.Conn, error){
		"refused": func(*besideLarge) (net.Conn, error) { return nil, refused },
		"turned away": func(*besideLarge) (net.Conn, error) {
			near, there := net.Pipe()
			go func() {
				_, _ = there.Read(make([]byte, 1000))
				_, _ = there.Write([]byte("ERROR Too many open connections\r\n"))
				_ = there.Close()
			}()
			return near, nil
		},
	} {
		playBeside(t, refuse, func(b *besideLarge) {
			b.multi(t)
			before := b.dials
			b.limit = before
			for range 100 {
				b.multi(t)
			}
			if st := b.Stats()[b.fake.Addr()]; st.State != breaker.Closed || b.dials != before+1 {
				t.Errorf("%s: %+v, %d dials more, want one", what, st, b.dials-before)
			}
			time.Sleep(30 * time.Second)
			b.limit = 1000
			if waited := b.multi(t); waited != 0 {
				t.Errorf("%s: a Get waited %v, although there is a connection again", what, waited)
			}
		})
	}
}

package memcache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// Time in these tests is virtual: what they say about it is exact, however busy the machine is.

// lab is a client of one server in memory, an arm's length away.
type lab struct {
	*memcache.Client
	fake  *testutil.Fake
	dials diary
}

// diary is when something happened.
type diary struct {
	mu    sync.Mutex
	times []time.Time // guarded by mu
}

func (d *diary) note() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times = append(d.times, time.Now())
}

func (d *diary) all() []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.times)
}

// inLab runs a test in virtual time. The client has been used, and nothing is under way.
func inLab(t *testing.T, o memcache.Options, test func(t *testing.T, l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{fake: testutil.StartFake(t, testutil.FakeOptions{InMemory: true})}
		o.Servers, o.ReportUnavailable = []string{l.fake.Addr()}, true
		o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			l.dials.note()
			return l.fake.Dial(ctx, network, addr)
		}
		c, err := memcache.NewWithOptions(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		l.Client = c
		set(t, c)
		time.Sleep(time.Second)
		test(t, l)
		check(t, c.Close())
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lab) up() bool { return l.State(l.fake.Addr()) == breaker.Closed }

func (l *lab) stats() memcache.ServerStats { return l.Stats()[l.fake.Addr()] }

// pollStep is how precisely until sees what it waits for.
const pollStep = 100 * time.Microsecond

// until waits for a state of the server, and says how long that took.
func (l *lab) until(t *testing.T, up bool) time.Duration {
	t.Helper()
	start := time.Now()
	for ; l.up() != up; time.Sleep(pollStep) {
		if time.Since(start) > time.Minute {
			t.Fatalf("up is not %v within a minute: %+v", up, l.stats())
		}
	}
	return time.Since(start).Truncate(time.Millisecond)
}

// fall kills the server and lets the client see it.
func (l *lab) fall(t *testing.T) {
	t.Helper()
	check(t, l.fake.Kill())
	for range 3 {
		_, _ = l.Get("k")
	}
	if l.up() {
		t.Fatal("a server that refuses connections is not taken for down")
	}
}

// TestTimeOfAHang: with several callers a hang is found after 80 ms without a byte, the first tick
// behind the doubt, and the 30 ms of a second opinion; all calls end then. A caller alone has its
// time limit, and three of these in a row open the breaker.
func TestTimeOfAHang(t *testing.T) {
	t.Parallel()
	inLab(t, memcache.Options{}, func(t *testing.T, l *lab) {
		check(t, l.fake.Hang())
		var callers sync.WaitGroup
		start := time.Now()
		for i := range 16 {
			callers.Go(func() {
				err := l.Set(&memcache.Item{Key: fmt.Sprint("k", i)})
				if took := time.Since(start); took != 110*time.Millisecond || !errors.Is(err, memcache.ErrHung) {
					t.Errorf("Set on a hung server = %v after %v, want ErrHung after 110 ms", err, took)
				}
			})
		}
		callers.Wait()
		check(t, l.fake.Release())
		l.until(t, true)
	})
	inLab(t, memcache.Options{}, func(t *testing.T, l *lab) {
		check(t, l.fake.Hang())
		for i := 1; i <= 3; i++ {
			start := time.Now()
			_, err := l.Get("k")
			if took := time.Since(start); took != memcache.DefaultTimeout || !errors.Is(err, memcache.ErrTimeout) {
				t.Errorf("Get %d on a hung server = %v after %v, want ErrTimeout after %v", i, err, took, memcache.DefaultTimeout)
			}
			synctest.Wait()
			if up := i < 3; l.up() != up {
				t.Errorf("used after %d time-outs: %v, want %v", i, l.up(), up)
			}
		}
		check(t, l.fake.Release())
		l.until(t, true)
	})
}

// TestTimeOfHealing: a dead server is probed at 20, 30, 45 … 250 ms, a hung one up to a second
// apart and for 100 ms and 1 s by turns; pauses are cut by up to a half. It is used again with the
// first probe that finds it well.
func TestTimeOfHealing(t *testing.T) {
	t.Parallel()
	for _, hung := range []bool{false, true} {
		t.Run(fmt.Sprint("hung ", hung), func(t *testing.T) {
			inLab(t, memcache.Options{}, func(t *testing.T, l *lab) {
				limit, asked := 250*time.Millisecond, [2]time.Duration{}
				if hung {
					limit, asked = time.Second, [2]time.Duration{100 * time.Millisecond, time.Second}
					check(t, l.fake.Hang())
					for range 3 {
						_, _ = l.Get("k")
					}
				} else {
					l.fall(t)
				}
				synctest.Wait()
				down := l.stats().DownSince
				time.Sleep(20 * time.Second)
				healed := time.Now()
				if hung {
					check(t, l.fake.Release())
				} else {
					check(t, l.fake.Restart())
				}
				if took, most := l.until(t, true), max(limit, asked[1]); took > most {
					t.Errorf("used again after %v, want at most %v", took, most)
				}
				l.judgeProbes(t, down, healed, limit, asked)
			})
		})
	}
}

// judgeProbes checks the pauses between the dials of an outage, whose probes take so long by turns.
func (l *lab) judgeProbes(t *testing.T, down, healed time.Time, limit time.Duration, asked [2]time.Duration) {
	t.Helper()
	last, step, n := down, 20*time.Millisecond, 0
	for _, at := range l.dials.all() {
		if !at.After(down) || at.After(healed) {
			continue
		}
		pause := at.Sub(last)
		if n > 0 {
			pause -= asked[(n-1)%2]
		}
		if pause < step/2 || pause > step {
			t.Errorf("probe %d came %v after the one before, want between %v and %v", n, pause, step/2, step)
		}
		last, step, n = at, min(step*3/2, limit), n+1
	}
	if least := int(20 * time.Second / (limit + 600*time.Millisecond)); n < least {
		t.Errorf("%d probes in 20 s, want at least %d", n, least)
	}
}

// TestTimeOfTheRamp: a server that is back takes 4 calls at once, then 8, up to 256 while they are
// answered; after a second, any number.
func TestTimeOfTheRamp(t *testing.T) {
	t.Parallel()
	inLab(t, memcache.Options{}, func(t *testing.T, l *lab) {
		wave := func() (answered int64) {
			var callers sync.WaitGroup
			var n atomic.Int64
			for range 500 {
				callers.Go(func() {
					if _, err := l.Get("k"); !errors.Is(err, memcache.ErrServerDown) {
						n.Add(1)
					}
				})
			}
			callers.Wait()
			return n.Load()
		}
		l.fall(t)
		check(t, l.fake.Restart())
		l.until(t, true)
		l.fake.SetFault(testutil.Always(testutil.DelayReply(time.Millisecond)))
		for _, want := range []int64{4, 8, 16, 32, 64, 128, 500} {
			if got := wave(); got != want {
				t.Errorf("%d calls at once were let in, want %d", got, want)
			}
		}
		l.fake.SetFault(nil)
		l.fall(t)
		check(t, l.fake.Restart())
		l.until(t, true)
		l.fake.SetFault(testutil.Always(testutil.DelayReply(time.Millisecond)))
		time.Sleep(time.Second - 2*pollStep)
		if got := wave(); got != 4 {
			t.Errorf("%d calls at once within the first second, want 4", got)
		}
		if got := wave(); got != 500 {
			t.Errorf("%d calls at once after a second, want all 500", got)
		}
	})
}

// TestTimeOfTheDeletions: keys of missed writes are deleted before the server is used again, and
// once more 100 ms later if it may still have been on its way; until then it is a miss, though the
// server works off what its sockets held.
func TestTimeOfTheDeletions(t *testing.T) {
	t.Parallel()
	inLab(t, memcache.Options{}, func(t *testing.T, l *lab) {
		var deletions diary
		l.fake.SetFault(func(cmd testutil.Command) testutil.Fault {
			if cmd.Verb == "delete" && cmd.Keys[0] == "k" {
				deletions.note()
			}
			return testutil.Fault{}
		})
		check(t, l.fake.Hang())
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() { _ = l.Set(&memcache.Item{Key: "k", Value: []byte("zombie")}) })
		}
		callers.Wait()
		check(t, l.fake.Release())
		l.until(t, true)
		for start := time.Now(); time.Since(start) < 100*time.Millisecond-2*pollStep; time.Sleep(time.Millisecond) {
			if _, err := l.Get("k"); !errors.Is(err, memcache.ErrCacheMiss) {
				t.Fatalf("Get of a key that waits for its second deletion = %v, want a miss", err)
			}
		}
		time.Sleep(2 * time.Millisecond)
		if all := deletions.all(); len(all) != 2 || all[1].Sub(all[0]) != 100*time.Millisecond {
			t.Errorf("deletions at %v, want two, 100 ms apart", all)
		}
		if st := l.stats(); st.MissedInvalidations > 0 {
			t.Errorf("%d keys wait for a deletion, want none", st.MissedInvalidations)
		}
		set(t, l.Client)
		if it, err := l.Get("k"); err != nil || string(it.Value) != "v" {
			t.Errorf("Get = %v, %v, want what was written last", it, err)
		}
	})
}

// TestRoundsOfDeletions: writes that are missed while those before them are being deleted are
// deleted in up to three rounds; writes missed after that do not keep the server out of use, but
// their keys are misses until they were deleted, too.
func TestRoundsOfDeletions(t *testing.T) {
	t.Parallel()
	inLab(t, memcache.Options{}, func(t *testing.T, l *lab) {
		var deleted []string
		var downAt []bool
		const rounds = 5
		l.fake.SetFault(func(cmd testutil.Command) testutil.Fault {
			if cmd.Verb != "delete" {
				return testutil.Fault{}
			}
			deleted = append(deleted, cmd.Keys[0])
			downAt = append(downAt, !l.up())
			if n := len(deleted); n < rounds && !l.up() {
				_ = l.Delete(fmt.Sprint(n))
			}
			return testutil.DelayReply(time.Millisecond)
		})
		l.fall(t)
		_ = l.Delete("0")
		check(t, l.fake.Restart())
		l.until(t, true)
		if _, err := l.Get("3"); !errors.Is(err, memcache.ErrCacheMiss) || l.stats().MissedInvalidations != 1 {
			t.Errorf("Get of what was missed in the last round = %v, with %d keys to delete; want a miss, and 1", err, l.stats().MissedInvalidations)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !slices.Equal(deleted, []string{"0", "1", "2", "3"}) || !slices.Equal(downAt, []bool{true, true, true, false}) {
			t.Errorf("deleted %q, while down: %v; want 0 to 2 while down, and 3 then", deleted, downAt)
		}
	})
}

// TestTimeOfStrikes: replies that do not parse open the breaker when the second comes within ten
// seconds of the first.
func TestTimeOfStrikes(t *testing.T) {
	t.Parallel()
	for pause, want := range map[time.Duration]bool{10*time.Second - 1: false, 10 * time.Second: true} {
		inLab(t, memcache.Options{}, func(t *testing.T, l *lab) {
			garbage := testutil.OnVerbs(testutil.Garbage([]byte("?\r\n")), "set")
			for i := range 2 {
				time.Sleep(time.Duration(i) * pause)
				l.fake.SetFault(testutil.Times(1, garbage))
				if err := l.Set(&memcache.Item{Key: "k"}); !errors.Is(err, memcache.ErrBadReply) {
					t.Errorf("Set whose reply does not parse = %v, want ErrBadReply", err)
				}
				l.fake.SetFault(nil)
				_, _ = l.Get("other") // a success in between changes nothing
			}
			if l.up() != want {
				t.Errorf("used after two replies that do not parse, %v apart: %v, want %v", pause, l.up(), want)
			}
		})
	}
}

// TestCallersWhoWaitTogether: time-outs of calls that waited at the same time count once.
func TestCallersWhoWaitTogether(t *testing.T) {
	t.Parallel()
	inLab(t, memcache.Options{HangTimeout: -1}, func(t *testing.T, l *lab) {
		check(t, l.fake.Hang())
		for i := 1; i <= 3; i++ {
			var callers sync.WaitGroup
			for n := range 50 {
				callers.Go(func() {
					time.Sleep(time.Duration(n) * time.Millisecond) // not in one tick
					_, _ = l.Get("k")
				})
			}
			callers.Wait()
			if up := i < 3; l.up() != up {
				t.Errorf("used after %d times fifty time-outs: %v, want %v", i, l.up(), up)
			}
		}
		check(t, l.fake.Release())
		l.until(t, true)
	})
}

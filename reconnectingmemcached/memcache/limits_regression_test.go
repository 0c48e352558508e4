package memcache_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// inBubble runs a test in virtual time, on a server that is so far away.
func inBubble(t *testing.T, rtt time.Duration, o memcache.Options, test func(t *testing.T, c *memcache.Client, d *distance)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true})
		d := &distance{fake: fake, rtt: rtt}
		o.Servers, o.DialContext, o.ReportUnavailable = []string{fake.Addr()}, d.dial, true
		c, err := memcache.NewWithOptions(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(t, c, d)
	})
}

func set(t *testing.T, c *memcache.Client) {
	t.Helper()
	if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
		t.Fatalf("Set on a healthy server: %v", err)
	}
}

// TestFarServerComesBack tells of the server 60 ms away: dialling and asking took longer than the
// 100 ms that a probe had, so it was never used again after its first outage, whatever Timeout
// said.
func TestFarServerComesBack(t *testing.T) {
	t.Parallel()
	for _, rtt := range []time.Duration{0, 60 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond, 300 * time.Millisecond, 900 * time.Millisecond} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v, known %v", rtt, known), func(t *testing.T) {
				inBubble(t, rtt, memcache.Options{Timeout: 2 * time.Second}, func(t *testing.T, c *memcache.Client, d *distance) {
					if known { // else it is down when the client meets it
						set(t, c)
					}
					if err := d.fake.Kill(); err != nil {
						t.Fatal(err)
					}
					for c.State(d.fake.Addr()) == breaker.Closed {
						_, _ = c.Get("k")
					}
					time.Sleep(3 * time.Second)
					if err := d.fake.Restart(); err != nil {
						t.Fatal(err)
					}
					start := time.Now()
					for c.State(d.fake.Addr()) != breaker.Closed {
						if time.Since(start) > 20*time.Second {
							t.Fatalf("not used again 20 s after its restart: %v", c.Stats()[d.fake.Addr()].DownCause)
						}
						time.Sleep(time.Millisecond)
					}
					t.Logf("used again %v after the restart", time.Since(start))
					set(t, c)
				})
			})
		}
	}
}

// TestFarServerIsNotHung tells of the healthy server 150 ms away that answered no Get at all to
// eight callers: they waited longer without a byte than servers were allowed to.
func TestFarServerIsNotHung(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{500 * time.Millisecond, 2 * time.Second} {
		t.Run(fmt.Sprint(timeout), func(t *testing.T) {
			inBubble(t, 150*time.Millisecond, memcache.Options{Timeout: timeout}, func(t *testing.T, c *memcache.Client, d *distance) {
				set(t, c)
				var callers sync.WaitGroup
				for range 8 {
					callers.Go(func() {
						for range 20 {
							if _, err := c.Get("k"); err != nil {
								t.Errorf("Get: %v", err)
							}
						}
					})
				}
				callers.Wait()
				time.Sleep(time.Minute) // a burst after a pause has to wait for its first byte, too
				for range 8 {
					callers.Go(func() {
						if _, err := c.Get("k"); err != nil {
							t.Errorf("Get after a pause: %v", err)
						}
					})
				}
				callers.Wait()
				if n := dials(c, d.fake.Addr()); n != 1 {
					t.Errorf("%d connections, want 1", n)
				}
			})
		})
	}
}

// work lets sixteen callers read and write until stop is closed. It returns the calls that failed.
func work(c *memcache.Client, stop <-chan struct{}) (misses, failedSets, refused *atomic.Int64, wait func()) {
	misses, failedSets, refused = new(atomic.Int64), new(atomic.Int64), new(atomic.Int64)
	var callers sync.WaitGroup
	for w := range 16 {
		callers.Go(func() {
			for i := w; !ended(stop); i++ {
				var err error
				if i%10 == 0 {
					if err = c.Set(&memcache.Item{Key: fmt.Sprint("w", w), Value: []byte("v")}); err != nil {
						failedSets.Add(1)
					}
				} else if _, err = c.Get("k"); err != nil {
					misses.Add(1)
				}
				var down *memcache.ServerDownError
				if errors.As(err, &down) && !down.Since.IsZero() {
					refused.Add(1)
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	return misses, failedSets, refused, callers.Wait
}

// TestStallingServer tells of servers that stand still for 150 ms now and then, as with a CPU
// quota: with a Timeout of 2 s thousands of hits became misses and hundreds of Sets failed.
func TestStallingServer(t *testing.T) {
	t.Parallel()
	inBubble(t, 200*time.Microsecond, memcache.Options{Timeout: 2 * time.Second}, func(t *testing.T, c *memcache.Client, d *distance) {
		set(t, c)
		stop := make(chan struct{})
		misses, failedSets, _, wait := work(c, stop)
		for range 5 {
			time.Sleep(500 * time.Millisecond)
			_ = d.fake.Hang()
			time.Sleep(150 * time.Millisecond)
			_ = d.fake.Release()
		}
		close(stop)
		wait()
		if misses.Load()+failedSets.Load() > 0 {
			t.Errorf("%d false misses, %d failed Sets, want none", misses.Load(), failedSets.Load())
		}
	})
}

// TestOneStuckConnection tells of the lost packet: it silences a connection for 210 ms, and took a
// healthy server out of use ten times of ten. A fresh connection answers, so only the one that is
// stuck goes.
func TestOneStuckConnection(t *testing.T) {
	t.Parallel()
	inBubble(t, 200*time.Microsecond, memcache.Options{}, func(t *testing.T, c *memcache.Client, d *distance) {
		set(t, c)
		stop := make(chan struct{})
		misses, failedSets, refused, wait := work(c, stop)
		for range 10 {
			time.Sleep(300 * time.Millisecond)
			d.stall(210 * time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond)
		close(stop)
		wait()
		t.Logf("10 stalls: %d false misses, %d failed Sets, %d refused, %d connections", misses.Load(), failedSets.Load(), refused.Load(), dials(c, d.fake.Addr()))
		if misses.Load() > 0 || refused.Load() > 0 || failedSets.Load() > 30 {
			t.Errorf("%d false misses, %d calls refused, %d failed Sets; want none, none, and at most 30 that were on the connections",
				misses.Load(), refused.Load(), failedSets.Load())
		}
	})
}

// TestStuckConnectionBehindProxy tells of the far server behind a near proxy: the time of the dial
// counted as its pace, and a fresh connection was given too little time to answer.
func TestStuckConnectionBehindProxy(t *testing.T) {
	t.Parallel()
	inBubble(t, 100*time.Millisecond, memcache.Options{Timeout: 2 * time.Second}, func(t *testing.T, c *memcache.Client, d *distance) {
		d.nearProxy = true
		set(t, c)
		d.stall(5 * time.Second)
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				if _, err := c.Get("k"); err != nil {
					t.Errorf("Get while one connection is stuck = %v, want a hit by another", err)
				}
			})
		}
		callers.Wait()
		time.Sleep(5 * time.Second) // for the link
	})
}

// TestHangIsFound: the second opinion does not make a real hang take longer than 150 ms.
func TestHangIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options memcache.Options
		want    time.Duration
	}{
		"default": {memcache.Options{}, 150 * time.Millisecond},
		"2 s":     {memcache.Options{Timeout: 2 * time.Second}, 450 * time.Millisecond},
		"option":  {memcache.Options{Timeout: 2 * time.Second, HangTimeout: 100 * time.Millisecond}, 150 * time.Millisecond},
		"off":     {memcache.Options{Timeout: 500 * time.Millisecond, HangTimeout: -1}, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 200*time.Microsecond, c.options, func(t *testing.T, client *memcache.Client, d *distance) {
				set(t, client)
				stop := make(chan struct{})
				_, _, _, wait := work(client, stop)
				time.Sleep(100 * time.Millisecond)
				_ = d.fake.Hang()
				start := time.Now()
				for client.State(d.fake.Addr()) == breaker.Closed && time.Since(start) < time.Minute {
					time.Sleep(time.Millisecond)
				}
				found := time.Since(start)
				t.Logf("hang found after %v", found)
				if found > c.want || name == "off" && found < 500*time.Millisecond {
					t.Errorf("hang found after %v, want %v", found, c.want)
				}
				if cause := client.Stats()[d.fake.Addr()].DownCause; name != "off" && !errors.Is(cause, memcache.ErrHung) {
					t.Errorf("cause = %v, want ErrHung", cause)
				}
				_ = d.fake.Release()
				close(stop)
				wait()
			})
		})
	}
}

// TestCauseIsTheProbes tells of the error that named the first outage for hours while the probes
// failed for another reason.
func TestCauseIsTheProbes(t *testing.T) {
	t.Parallel()
	inBubble(t, 0, memcache.Options{}, func(t *testing.T, c *memcache.Client, d *distance) {
		set(t, c)
		_ = d.fake.Kill()
		for c.State(d.fake.Addr()) == breaker.Closed {
			_, _ = c.Get("k")
		}
		synctest.Wait()
		since := c.Stats()[d.fake.Addr()].DownSince
		_ = d.fake.Restart()
		d.fake.SetFault(testutil.OnVerbs(testutil.Garbage([]byte("loading\r\n")), "version"))
		time.Sleep(2 * time.Second)
		_, err := c.Get("k")
		if !errors.Is(err, memcache.ErrServerDown) || !strings.Contains(err.Error(), "loading") {
			t.Errorf("Get = %v, want what the probe met with", err)
		}
		d.fake.SetFault(testutil.Always(testutil.HangGets()))
		time.Sleep(5 * time.Second)
		st := c.Stats()[d.fake.Addr()]
		if !errors.Is(st.DownCause, memcache.ErrHung) || !strings.Contains(st.DownCause.Error(), "no answer to a probe within") {
			t.Errorf("cause = %v, want what the probe met with", st.DownCause)
		}
		if !st.DownSince.Equal(since) {
			t.Errorf("down since %v, want %v: it was never up", st.DownSince, since)
		}
		d.fake.SetFault(nil)
	})
}

// TestLongReplay tells of the far server that had missed many writes: their deletion took longer
// than one replay may, and each began anew.
func TestLongReplay(t *testing.T) {
	t.Parallel()
	inBubble(t, 600*time.Millisecond, memcache.Options{Timeout: 2 * time.Second}, func(t *testing.T, c *memcache.Client, d *distance) {
		set(t, c)
		_ = d.fake.Kill()
		for c.State(d.fake.Addr()) == breaker.Closed {
			_, _ = c.Get("k")
		}
		for i := range 20_000 {
			_ = c.Delete(fmt.Sprint("missed", i))
		}
		_ = d.fake.Restart()
		for start := time.Now(); c.State(d.fake.Addr()) != breaker.Closed; time.Sleep(100 * time.Millisecond) {
			if time.Since(start) > 5*time.Minute {
				t.Fatalf("not used again within 5 min: %+v", c.Stats()[d.fake.Addr()])
			}
		}
	})
}

// TestProbeTimeout: the option is the bound.
func TestProbeTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var longest atomic.Int64
		c, err := memcache.NewWithOptions(nil, memcache.Options{
			Servers: []string{"192.0.2.1:11211"}, Timeout: 50 * time.Millisecond, ProbeTimeout: 3 * time.Second,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				start := time.Now()
				<-ctx.Done()
				longest.Store(max(longest.Load(), int64(time.Since(start))))
				return nil, ctx.Err()
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		for c.Available() {
			_, _ = c.Get("k")
		}
		time.Sleep(10 * time.Second)
		if got := time.Duration(longest.Load()); got != 3*time.Second {
			t.Errorf("the longest probe took %v, want ProbeTimeout, 3 s", got)
		}
		_ = c.Close()
	})
}

// TestNoTimeLimits tells of the options that mean "no limit": a ProbeTimeout without end was a
// panic at the first call, and with such a Timeout a server was never used again after its first
// outage.
func TestNoTimeLimits(t *testing.T) {
	t.Parallel()
	const forever = time.Duration(math.MaxInt64)
	for name, o := range map[string]memcache.Options{
		"Timeout": {Timeout: forever}, "ProbeTimeout": {ProbeTimeout: forever},
		"HangTimeout": {HangTimeout: forever}, "ResolveInterval": {ResolveInterval: forever},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, time.Millisecond, o, func(t *testing.T, c *memcache.Client, d *distance) {
				set(t, c)
				if err := c.Set(&memcache.Item{Key: "large", Value: make([]byte, memcache.LargeValue+1)}); err != nil {
					t.Errorf("large Set: %v", err)
				}
				_ = d.fake.Kill()
				for c.State(d.fake.Addr()) == breaker.Closed {
					_, _ = c.Get("k")
				}
				_ = d.fake.Restart()
				time.Sleep(10 * time.Second)
				set(t, c)
			})
		})
	}
}

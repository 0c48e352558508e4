package memcache_test

import (
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestSpinners: a process that is starved of CPU, by others or by itself, must not take healthy
// servers for hung.
func TestSpinners(t *testing.T) {
	duration := 1500 * time.Millisecond
	if soak() {
		duration = time.Minute
	}
	t.Run("other processes", func(t *testing.T) {
		starved(t, duration, func(stop <-chan struct{}) {
			spinner := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this very test, which spins if asked to.
			spinner.Env = append(os.Environ(), spinEnv+"="+(2*duration).String())
			if err := spinner.Start(); err != nil {
				t.Error(err)
				return
			}
			<-stop
			_ = spinner.Process.Kill()
			_ = spinner.Wait()
		})
	})
	t.Run("this process", func(t *testing.T) {
		starved(t, duration, func(stop <-chan struct{}) {
			for !ended(stop) {
				_ = stop // burns time on purpose
			}
		})
	})
}

func ended(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// starved runs the load with three spinners a processor.
func starved(t *testing.T, duration time.Duration, spin func(stop <-chan struct{})) {
	t.Helper()
	_, addrs := threeServers(t)
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	c := newClient(t, memcache.Options{Servers: addrs, Timeout: memcache.DefaultTimeout, ReportUnavailable: true, Logger: logger})
	l := startLoad(t, c)
	stop := make(chan struct{})
	var spinners sync.WaitGroup
	slowest := make([]time.Duration, len(addrs))
	for i, addr := range addrs {
		spinners.Go(func() { slowest[i] = plainStall(addr, stop) })
	}
	for range 3 * runtime.NumCPU() {
		spinners.Go(func() { spin(stop) })
	}
	time.Sleep(duration)
	close(stop)
	spinners.Wait()
	l.end()
	for i, addr := range addrs {
		st, v := c.Stats()[addr], l.byIndex[i].take()
		t.Logf("server %d after %v: %v", i, duration, v)
		switch tripped := st.Refused > 0 || st.State != breaker.Closed; {
		case tripped && slowest[i] > 60*time.Millisecond: // the machine is busier than this test makes it
			t.Logf("server %d left a plain client, too, without an answer for %v: that it was taken for down is no mistake", i, slowest[i])
		case tripped:
			t.Errorf("healthy server %d: %d calls refused, breaker %v (%v); a plain client waited %v at most", i, st.Refused, st.State, st.DownCause, slowest[i])
		}
	}
}

// plainStall is how long a plain client waited for one answer at the most.
func plainStall(addr string, stop <-chan struct{}) (slowest time.Duration) {
	plain := gomemcache.New(addr)
	plain.Timeout = time.Minute
	defer func() { _ = plain.Close() }()
	for !ended(stop) {
		start := time.Now()
		_, _ = plain.Get("absent")
		slowest = max(slowest, time.Since(start))
		time.Sleep(time.Millisecond)
	}
	return slowest
}

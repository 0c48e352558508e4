package autorefresh_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/autorefresh"
)

var errNoBus = errors.New("no right to CLIENT TRACKING")

// moody is a second level whose Watch fails, or tells that changes are not heard of.
type moody struct {
	*wired

	refuse chan bool
	lost   chan error
}

func (m *moody) Watch(ctx context.Context, tell func(autorefresh.Notice)) error {
	select {
	case no := <-m.refuse:
		m.refuse <- no
		if no {
			return errNoBus
		}
	default:
	}
	tell(autorefresh.Notice{Gap: true})
	for {
		select {
		case err := <-m.lost:
			tell(autorefresh.Notice{Down: err, Gap: err == nil})
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gauge is the value of a metric without labels of its own.
func gauge(t *testing.T, c prometheus.Collector, name string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// A Watch that failed was logged each second, for as long as it failed, that it worked again was
// not, and no metric said so. While redis could not be reached nothing did.
func TestThatChangesAreNotHeardOfIsSaidOnceAndMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(journal)
		store := &moody{wired: newWired(t), refuse: make(chan bool, 1), lost: make(chan error)}
		store.refuse <- true
		c, err := autorefresh.New(new(database).refresh, options{Period: time.Hour, Store: store, Watch: true, Logger: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		said := ""
		mustSay := func(what string, down float64, words ...string) {
			t.Helper()
			settle(time.Minute)
			line := strings.TrimPrefix(log.String(), said)
			said = log.String()
			if strings.Count(line, "\n") != 1 {
				t.Errorf("%s: the log has, of that,\n%swant one line", what, line)
			}
			for _, word := range words {
				if !strings.Contains(line, word) {
					t.Errorf("%s: the log has, of that,\n%swant %q", what, line, word)
				}
			}
			if n := gauge(t, c, "holdfast_autorefresh_watch_down"); n != down || c.Stats().WatchDown != (down == 1) {
				t.Errorf("%s: the metric says %v, Stats %v", what, n, c.Stats().WatchDown)
			}
		}
		mustSay("a Watch that fails", 1, "does not tell", errNoBus.Error())
		<-store.refuse
		mustSay("a Watch that works again", 0, "tells of changes by other processes again", "after=1m")
		for range 3 {
			store.lost <- errDown
		}
		mustSay("lost meanwhile", 1, "does not tell", errDown.Error())
		store.lost <- nil
		mustSay("back", 0, "again")
	})
	synctest.Test(t, func(t *testing.T) {
		log := new(journal)
		c, err := autorefresh.New(new(database).refresh, options{Period: time.Hour, Store: newWired(t), Watch: true, Logger: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		settle(time.Minute)
		if c.Stats().WatchDown || gauge(t, c, "holdfast_autorefresh_watch_down") != 0 {
			t.Error("it hears of changes, and says that it does not")
		}
		mustClose(t, c)
		if c.Stats().WatchDown || gauge(t, c, "holdfast_autorefresh_watch_down") != 0 {
			t.Error("after Close it says that it does not hear of changes, as nobody does")
		}
		if log.String() != "" {
			t.Errorf("nothing has happened but the end, and the log has\n%s", log)
		}
	})
}

// A gap was counted before it was dealt with: Stats told of it, and said for a moment that nothing
// was heard.
func TestAGapIsCountedOnceItIsDealtWith(t *testing.T) {
	store := &moody{wired: newWired(t), refuse: make(chan bool, 1), lost: make(chan error)}
	c, err := autorefresh.New(new(database).refresh, options{Period: time.Hour, First: autorefresh.FirstAfterPeriod, Store: store, Watch: true})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, c)
	createMany(t, c, 20_000) // a gap notes all of them
	for range 5 {
		store.lost <- errDown
		before := c.Stats().WatchGaps
		store.lost <- nil
		n := c.Stats()
		for began := time.Now(); n.WatchGaps == before; n = c.Stats() {
			if runtime.Gosched(); time.Since(began) > 20*time.Second {
				t.Fatal("the gap is not counted within 20 s")
			}
		}
		if n.WatchDown {
			t.Error("a gap is counted, and nothing is heard")
		}
	}
}

package failover_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/failover"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// forgetful is a cluster whose primary loses one of the keys that it is asked for.
type forgetful struct {
	failover.Cluster
	lost string
}

func (f *forgetful) Present(ctx context.Context, keys []string) (map[string]bool, error) {
	present, err := f.Cluster.Present(ctx, keys)
	if f.lost == "" && len(keys) > 0 {
		f.lost = keys[len(keys)-1]
	}
	delete(present, f.lost)
	return present, err
}

func TestALostWriteOfHoldfastBreaksThePromise(t *testing.T) {
	t.Parallel()
	testutil.AtSomePace(t, func(p *testutil.Pace) { loseAWrite(t, p) })
}

func loseAWrite(t *testing.T, pace *testutil.Pace) {
	t.Helper()
	_, f := foreignCluster(t)
	o := options(t, [drill.Sides]failover.Cluster{f, &forgetful{Cluster: f}}, failover.ForeignRules(), failover.ForeignRules().Default)
	o.Duration, o.Timeout, o.Rate = pace.Longer(3*time.Second), pace.Longer(o.Timeout), pace.Slower(o.Rate)
	o.Budget = new(atomic.Int64)
	o.Budget.Store(1 << 20)
	d := newDrill(t.Context(), t, o)
	if err := errors.Join(d.Run(t.Context()), d.Close()); err != nil {
		pace.Errorf("Run, and Close after it: %v", err)
		return
	}
	r := d.Journal().Snapshot()
	if p := phase(t, &r, "load"); *p.Holdfast.Lost != 1 || *p.Plain.Lost != 0 {
		t.Errorf("holdfast lost %d writes, plain %d; want the one that is missing", *p.Holdfast.Lost, *p.Plain.Lost)
	}
	if r.Verdict != record.Broken || r.Promises[0].Text != "lost=0" || r.Promises[0].Kept {
		t.Errorf("verdict %q, promises %+v; want lost=0 broken", r.Verdict, r.Promises)
	}
	if !slices.ContainsFunc(r.Events, func(e record.Event) bool {
		return strings.HasPrefix(e.Text, "writes of holdfast that ") && strings.HasSuffix(e.Text, "lost: 1")
	}) {
		t.Errorf("no event says who had acknowledged the lost write: %+v", r.Events)
	}
}

// foreignCluster is one that was there before, with its servers.
func foreignCluster(t *testing.T) (*redis.InProcess, *failover.Foreign) {
	t.Helper()
	c := redis.StartInProcess(t)
	f, err := failover.Connect(t.Context(), c.SentinelAddrs(), "mymaster", failover.Access{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return c, f
}

func TestAClusterOfOthersIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	testutil.AtSomePace(t, func(p *testutil.Pace) { leaveAsItWas(t, p) })
}

func leaveAsItWas(t *testing.T, pace *testutil.Pace) {
	t.Helper()
	c, f := foreignCluster(t)
	o := options(t, [drill.Sides]failover.Cluster{f, f}, failover.ForeignRules(), failover.ForeignRules().Default)
	o.Duration, o.Timeout, o.Rate = pace.Longer(3*time.Second), pace.Longer(o.Timeout), pace.Slower(o.Rate)
	o.Budget = new(atomic.Int64)
	o.Budget.Store(1 << 20)
	d := newDrill(t.Context(), t, o)
	_, updates, stop := d.Journal().Follow(1000)
	defer stop()
	ended := make(chan error)
	go func() { ended <- d.Run(t.Context()) }()
	most := 0
	for u := range updates {
		if u.Kind != record.OnSample {
			continue
		}
		stored, err := c.Snapshot(t.Context(), "mymaster")
		if err != nil {
			t.Fatal(err)
		}
		for key := range stored {
			if !strings.HasPrefix(key, workload.Prefix+"test:") {
				t.Errorf("the key %q does not say whose it is", key)
			}
		}
		most = max(most, len(stored))
	}
	if err := <-ended; err != nil {
		t.Fatalf("Run: %v", err)
	}
	if most < 400 {
		pace.Errorf("%d keys at most, want those of both sides at least", most)
	}
	if stored, err := c.Snapshot(t.Context(), "mymaster"); err != nil || len(stored) != 0 {
		t.Errorf("%d keys are left, %v", len(stored), err)
	}
	r := d.Journal().Snapshot()
	if last := r.Events[len(r.Events)-1].Text; last != "all keys of the drill deleted" {
		t.Errorf("the last event is %q, want that all keys are deleted", last)
	}
	p := phase(t, &r, "load")
	if len(r.Phases) != 1 || *p.Plain.Lost+*p.Holdfast.Lost > 0 {
		t.Errorf("phases %+v, want one without losses", r.Phases)
	}
	for side, s := range map[string]*record.Summary{"plain": &p.Plain, "holdfast": &p.Holdfast} {
		if s.Errors > (s.Reads+s.Writes)/10 { // none, unless the machine answers too late what it stood still for
			pace.Errorf("%d errors of %s in %d calls, want none", s.Errors, side, s.Reads+s.Writes)
		}
	}
	// A sample in which a server is slow to say what it is has it down.
	if states := []string{"primary", "replica", "replica"}; !slices.ContainsFunc(r.Samples, func(s record.Sample) bool { return slices.Equal(s.Faults, states) }) {
		t.Errorf("servers %q at the end, and %q at no time", r.Samples[len(r.Samples)-1].Faults, states)
	}
}

func TestTheBudgetBoundsWhatIsWritten(t *testing.T) {
	t.Parallel()
	testutil.AtSomePace(t, func(p *testutil.Pace) { spendBudget(t, p) })
}

func spendBudget(t *testing.T, pace *testutil.Pace) {
	t.Helper()
	c, f := foreignCluster(t)
	o := options(t, [drill.Sides]failover.Cluster{f, f}, failover.ForeignRules(), "")
	o.Duration, o.Budget = pace.Longer(3*time.Second), new(atomic.Int64)
	o.Budget.Store(40_000)
	d := newDrill(t.Context(), t, o)
	_, updates, stop := d.Journal().Follow(1000)
	defer stop()
	ended := make(chan error)
	go func() { ended <- d.Run(t.Context()) }()
	most := 0
	for range updates {
		stored, err := c.Snapshot(t.Context(), "mymaster")
		if err != nil {
			t.Fatal(err)
		}
		bytes := 0
		for key, value := range stored {
			bytes += len(key) + len(value)
		}
		most = max(most, bytes)
	}
	if err := <-ended; err != nil {
		t.Fatalf("Run: %v", err)
	}
	if most > 40_000 {
		t.Errorf("%d bytes stored at most, want at most 40000", most)
	}
	if most < 8_000 {
		pace.Errorf("%d bytes stored at most, want some of 40000", most)
	}
	noted := 0
	for _, e := range d.Journal().Snapshot().Events {
		noted += strings.Count(e.Text, "as many bytes are stored as is allowed")
	}
	if noted > 1 {
		t.Errorf("%d events say that the budget is spent, want one", noted)
	}
	if noted == 0 {
		pace.Errorf("no event says that the budget is spent")
	}
}

func TestAClusterOfOthersIsNotBroken(t *testing.T) {
	t.Parallel()
	_, f := foreignCluster(t)
	for _, a := range []failover.Action{failover.Switch, failover.Kill, failover.Hang, failover.Restart, failover.Release} {
		if err := f.Do(t.Context(), a); !errors.Is(err, failover.ErrNoFaults) {
			t.Errorf("Do(%q) = %v, want ErrNoFaults", a, err)
		}
	}
}

func TestSentinelsThatDoNotAnswerAreNamed(t *testing.T) {
	t.Parallel()
	c := redis.StartInProcess(t)
	addrs := c.SentinelAddrs()
	for i := range addrs {
		if err := c.KillSentinel(i); err != nil {
			t.Fatal(err)
		}
	}
	_, err := failover.Connect(t.Context(), addrs, "mymaster", failover.Access{})
	for _, addr := range addrs {
		if err == nil || !strings.Contains(err.Error(), addr) {
			t.Errorf("Connect = %v, want an error that names %s", err, addr)
		}
	}
}

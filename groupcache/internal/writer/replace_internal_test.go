package writer

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/loader"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/process"
	"github.com/holdfast-go/holdfast/groupcache/internal/route"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/groupcache/internal/tiers"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// uncounted is a group.Counter that nobody reads.
type uncounted struct{}

func (uncounted) Add(int64) {}

func (uncounted) Get() int64 { return 0 }

// alone makes a group of a process that owns all keys.
func alone(t *testing.T) *group.Group {
	p := process.New(process.Options{Now: time.Now}, process.Limits{MaxValueSize: 1 << 30})
	t.Cleanup(func() {
		p.Close()
		p.End()
		p.Wait()
	})
	peers := peer.NewPool("", peer.Rings{Plain: func([]string) peer.Ring { return nil }}, peer.Options{})
	t.Cleanup(func() { _ = peers.Close() })
	return &group.Group{
		Name: "g", Process: p,
		Tiers:   tiers.New(1<<20, 0, store.Options{}),
		Route:   func() route.Router { return route.Ours(peers) },
		Touched: writes.NewTouched(0), Sweeps: new(writes.Sweeps),
		Stats: group.Stats{LoadsDeduped: uncounted{}, LocalLoads: uncounted{}, LocalLoadErrs: uncounted{}},
	}
}

// A load that begins while a removal is at work may find the old value in the cache. It must not be
// joined by those who come after the removal.
func TestALoadThatFoundTheOldValueDuringAWriteIsNotJoined(t *testing.T) {
	for what, write := range map[string]struct {
		keep Keep
		v    outcome.Value
	}{
		"a removal":             {(*tiers.Tiers).Drop, outcome.Value{}},
		"too large to be kept":  {(*tiers.Tiers).PutMain, outcome.Value{Bytes: string(make([]byte, 1<<20))}},
		"expired at that time":  {(*tiers.Tiers).PutMain, outcome.Value{Bytes: "set", Expire: 1}},
		"set for another owner": {(*tiers.Tiers).Drop, outcome.Value{Bytes: "set"}},
	} {
		t.Run(what, func(t *testing.T) {
			g := alone(t)
			l := loader.New(g, loader.Options{Get: func(_ context.Context, _ string, into *outcome.Filling) error {
				*into = outcome.Filling{Value: outcome.Value{Bytes: "new"}, Set: true}
				return nil
			}})
			w := New(g, l.Table)
			w.SetHere("a", outcome.Value{Bytes: "old"})
			fenced, goOn, written := make(chan struct{}), make(chan struct{}), make(chan struct{})
			go func() {
				defer close(written)
				w.replace("a", func(caches *tiers.Tiers, item store.Item) {
					close(fenced)
					<-goOn
					write.keep(caches, item)
				}, write.v)
			}()
			<-fenced

			found := l.Batch(t.Context(), []string{"a"})
			defer found.End()
			during := found.Flights[0]
			old, _ := g.Tiers.Peek("a") // as a load does
			if during.Data.Value.Bytes = old.Value; old.Value != "old" {
				t.Fatalf("the load found %q: the test is no test", old.Value)
			}
			close(goOn)
			<-written

			got := make(chan string, 1)
			go func() {
				if _, ok := g.Tiers.Get("a"); ok {
					t.Error("a Get after the write finds a value in the cache")
				}
				v, err := l.Load(t.Context(), "a")
				if err != nil {
					t.Error(err)
				}
				got <- v.Bytes
			}()
			until(t, "the Get has joined or ended", func() bool { return len(got) > 0 || l.Waiting("a") > 1 })
			found.LandAll(nil)
			if v := <-got; v != "new" {
				t.Errorf("a Get after the write sees %q", v)
			}
		})
	}
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}

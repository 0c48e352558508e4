package groupcache_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// alone is a group of an instance without peers.
func alone(t *testing.T, getter groupcache.GetterFunc, opts ...groupcache.GroupOption) *groupcache.Group {
	t.Helper()
	return aloneWith(t, getter, opts...)
}

func aloneWith(t *testing.T, getter groupcache.Getter, opts ...groupcache.GroupOption) *groupcache.Group {
	t.Helper()
	i, err := groupcache.New(groupcache.Options{MaxValueSize: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(i.Close(), i.Close()); err != nil {
			t.Error(err)
		}
	})
	g, err := i.NewGroup("alone", 1<<20, getter, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestAllCallersShareALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		g := alone(t, func(_ context.Context, key string, dest groupcache.Sink) error {
			loads++
			time.Sleep(time.Second)
			return dest.SetString("value of "+key, time.Time{})
		})
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() {
				if v, err := get(t.Context(), g, "a"); v != "value of a" || err != nil {
					t.Errorf("%q, %v", v, err)
				}
			})
		}
		callers.Wait()
		if v, err := get(context.Background(), g, "a"); v != "value of a" || err != nil || loads != 1 {
			t.Errorf("%q, %v, %d loads", v, err, loads)
		}
		s := &g.Stats
		if s.Gets.Get() != 101 || s.CacheHits.Get() != 1 || s.Loads.Get() != 100 || s.LoadsDeduped.Get() != 1 || s.LocalLoads.Get() != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// With the original, the leader's cancellation failed all who had joined.
func TestALeaderWhoLeavesTakesNobodyAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, func(ctx context.Context, _ string, dest groupcache.Sink) error {
			select {
			case <-time.After(time.Second):
				return dest.SetString("v", time.Time{})
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		leader, leave := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() {
			if _, err := get(leader, g, "a"); !errors.Is(err, context.Canceled) {
				t.Errorf("the leader: %v", err)
			}
		})
		synctest.Wait()
		for range 20 {
			callers.Go(func() {
				if v, err := get(t.Context(), g, "a"); v != "v" || err != nil {
					t.Errorf("a follower: %q, %v", v, err)
				}
			})
		}
		synctest.Wait()
		leave()
		callers.Wait()
	})
}

func TestAFollowerLeavesAtItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, func(_ context.Context, _ string, dest groupcache.Sink) error {
			time.Sleep(time.Second)
			return dest.SetString("v", time.Time{})
		})
		var leader sync.WaitGroup
		leader.Go(func() { _, _ = get(t.Context(), g, "a") })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := get(ctx, g, "a"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		leader.Wait()
	})
}

type valueKey struct{}

func TestALoadHasTheValuesOfItsFirstCaller(t *testing.T) {
	g := alone(t, func(ctx context.Context, _ string, dest groupcache.Sink) error {
		s, _ := ctx.Value(valueKey{}).(string)
		return dest.SetString(s, time.Time{})
	})
	for _, parent := range []context.Context{t.Context(), context.Background()} {
		ctx := context.WithValue(parent, valueKey{}, "tenant")
		if v, err := get(ctx, g, "a"); v != "tenant" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		g.Clear()
	}
}

// With golang/groupcache a panic left the key locked for ever.
func TestAPanickingGetterLeavesNothingBehind(t *testing.T) {
	for what, misbehave := range map[string]func(){
		"a panic":        func() { panic("no database") },
		"a nil panic":    func() { panic(error(nil)) }, //nolint:govet // what is tested
		"runtime.Goexit": runtime.Goexit,
	} {
		t.Run(what, func(t *testing.T) {
			bad := true
			g := alone(t, func(_ context.Context, _ string, dest groupcache.Sink) error {
				if bad {
					misbehave()
				}
				return dest.SetString("v", time.Time{})
			})
			for range 3 {
				if _, err := get(t.Context(), g, "a"); !errors.Is(err, groupcache.ErrGetterPanicked) {
					t.Errorf("%v", err)
				}
			}
			bad = false
			if v, err := get(t.Context(), g, "a"); v != "v" || err != nil {
				t.Errorf("afterwards: %q, %v", v, err)
			}
		})
	}
}

// A caller that cannot leave does the work itself; followers must still be told.
func TestAPanicInTheCallersOwnGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, func(context.Context, string, groupcache.Sink) error {
			time.Sleep(time.Second)
			panic("no database")
		})
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() {
				if _, err := get(context.Background(), g, "a"); !errors.Is(err, groupcache.ErrGetterPanicked) {
					t.Error(err)
				}
			})
		}
		callers.Wait()
	})
}

func TestGettersThatMisbehave(t *testing.T) {
	for what, c := range map[string]struct {
		getter groupcache.GetterFunc
		want   string
	}{
		"sets nothing": {func(context.Context, string, groupcache.Sink) error { return nil }, "without setting a value"},
		"too large": {func(_ context.Context, _ string, dest groupcache.Sink) error {
			return dest.SetBytes(make([]byte, 1<<16+1), time.Time{})
		}, "MaxValueSize"},
		"fails": {func(context.Context, string, groupcache.Sink) error { return errors.New("no database") }, "no database"},
	} {
		t.Run(what, func(t *testing.T) {
			if _, err := get(t.Context(), alone(t, c.getter), "a"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestErrorsAreNotKept(t *testing.T) {
	fail := true
	g := alone(t, func(_ context.Context, _ string, dest groupcache.Sink) error {
		if fail {
			return &groupcache.ErrNotFound{Msg: "no such user"}
		}
		return dest.SetString("v", time.Time{})
	})
	if _, err := get(t.Context(), g, "a"); !errors.Is(err, &groupcache.ErrNotFound{}) || err.Error() != "no such user" {
		t.Error(err)
	}
	fail = false
	if v, err := get(t.Context(), g, "a"); v != "v" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

func TestLoadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, func(ctx context.Context, _ string, _ groupcache.Sink) error {
			<-ctx.Done()
			return ctx.Err()
		}, groupcache.WithLoadTimeout(time.Second))
		began := time.Now()
		if _, err := get(t.Context(), g, "a"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestALoadThatIsOvertakenIsNotKept(t *testing.T) {
	for what, overtake := range map[string]func(context.Context, *groupcache.Group) error{
		"Remove": func(ctx context.Context, g *groupcache.Group) error { return g.Remove(ctx, "a") },
		"Set": func(ctx context.Context, g *groupcache.Group) error {
			return g.Set(ctx, "a", []byte("new"), time.Time{}, false)
		},
		"Clear": func(_ context.Context, g *groupcache.Group) error {
			g.Clear()
			return nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				value := "old"
				g := alone(t, func(_ context.Context, _ string, dest groupcache.Sink) error {
					v := value
					time.Sleep(time.Second)
					return dest.SetString(v, time.Time{})
				})
				var early sync.WaitGroup
				early.Go(func() {
					if v, err := get(t.Context(), g, "a"); v != "old" || err != nil {
						t.Errorf("who asked before: %q, %v", v, err)
					}
				})
				synctest.Wait()
				value = "new"
				if err := overtake(t.Context(), g); err != nil {
					t.Error(err)
				}
				if v, err := get(t.Context(), g, "a"); v != "new" || err != nil {
					t.Errorf("who asks after joined the old load: %q, %v", v, err)
				}
				early.Wait()
				if v, err := get(t.Context(), g, "a"); v != "new" || err != nil {
					t.Errorf("the old load was kept: %q, %v", v, err)
				}
			})
		})
	}
}

func TestAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, err := groupcache.New(groupcache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		g, err := i.NewGroup("g", 1<<20, groupcache.GetterFunc(func(ctx context.Context, _ string, _ groupcache.Sink) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		if err != nil {
			t.Fatal(err)
		}
		var callers sync.WaitGroup
		for _, ctx := range []context.Context{t.Context(), context.Background()} {
			callers.Go(func() {
				if _, err := get(ctx, g, "a"); !errors.Is(err, context.Canceled) {
					t.Errorf("under way: %v", err)
				}
			})
		}
		synctest.Wait()
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		callers.Wait()
		_, errGet := get(t.Context(), g, "b")
		_, errGroup := i.NewGroup("h", 0, groupcache.GetterFunc(nil))
		_, errMulti := g.GetMulti(t.Context(), []string{"c"})
		for what, err := range map[string]error{
			"Get": errGet, "NewGroup": errGroup, "GetMulti": errMulti, "Remove": g.Remove(t.Context(), "a"),
			"Set": g.Set(t.Context(), "a", nil, time.Time{}, false), "SetPeers": i.SetPeers("http://a"),
		} {
			if !errors.Is(err, groupcache.ErrClosed) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// A Get that joined the fetch of a GetMulti was told of the fetch's own failure when the owner did
// not answer, in place of loading.
func TestAGetThatJoinsAFailedBatch(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		c := by.cluster(t, 2, func(o *groupcache.Options) { o.Silence = time.Second }) // the Get is to come meanwhile
		key := c.ownedBy(t, c.nodes[1])
		c.nodes[1].hung.Store(true)
		var callers sync.WaitGroup
		callers.Go(func() {
			if got, err := c.nodes[0].group.GetMulti(context.Background(), []string{key}); err != nil || got[key].String() != "value of "+key {
				t.Errorf("GetMulti: %v, %v", got, err)
			}
		})
		eventually(t, "GetMulti is under way", func() bool { return c.nodes[0].group.Fetching() == 1 })
		if v, err := get(t.Context(), c.nodes[0].group, key); err != nil || v != "value of "+key {
			t.Errorf("Get: %q, %v", v, err)
		}
		callers.Wait()
	})
}

package groupcache

import (
	"context"
	"testing"
	"time"
)

// A load that begins while a removal is at work may find the old value in the cache. It must not be
// joined by those who come after the removal.
func TestALoadThatFoundTheOldValueDuringAWriteIsNotJoined(t *testing.T) {
	for what, write := range map[string]struct {
		keep func(*Group, string, ByteView)
		v    ByteView
	}{
		"a removal":             {(*Group).putNowhere, ByteView{}},
		"too large to be kept":  {(*Group).putMain, ByteView{s: string(make([]byte, 1<<20))}},
		"expired at that time":  {(*Group).putMain, ByteView{s: "set", expire: 1}},
		"set for another owner": {(*Group).putNowhere, ByteView{s: "set"}},
	} {
		t.Run(what, func(t *testing.T) {
			i, err := New(Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = i.Close() }()
			g, err := i.NewGroup("g", 1<<20, GetterFunc(func(_ context.Context, _ string, dest Sink) error {
				return dest.SetString("new", time.Time{})
			}))
			if err != nil {
				t.Fatal(err)
			}
			g.setHere("a", ByteView{s: "old"})
			fenced, goOn, written := make(chan struct{}), make(chan struct{}), make(chan struct{})
			go func() {
				defer close(written)
				g.replace("a", func(key string, v ByteView) {
					close(fenced)
					<-goOn
					write.keep(g, key, v)
				}, write.v)
			}()
			<-fenced

			found := g.loads.Batch(t.Context(), []string{"a"})
			defer found.End()
			during := found.Flights[0]
			if during.Data.view, err = g.load(found.Context(), during); during.Data.view.s != "old" {
				t.Fatalf("the load found %q, %v: the test is no test", during.Data.view.s, err)
			}
			close(goOn)
			<-written

			got := make(chan string, 1)
			go func() {
				v, err := g.View(t.Context(), "a")
				if err != nil {
					t.Error(err)
				}
				got <- v.String()
			}()
			until(t, "the Get has joined or ended", func() bool { return len(got) > 0 || g.loads.Waiting("a") > 1 })
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

package groupcache

import (
	"context"
	"testing"
	"time"
)

// A load that begins while a removal is at work may find the old value in the cache. It must not be joined by those who come after the
// removal.
func TestALoadThatFoundTheOldValueDuringAWriteIsNotJoined(t *testing.T) {
	for what, write := range map[string]func(*Group){
		"a removal":             func(g *Group) { g.removeHere("a") },
		"too large to be kept":  func(g *Group) { g.setHere("a", ByteView{s: string(make([]byte, 1<<20))}) },
		"expired at that time":  func(g *Group) { g.setHere("a", ByteView{s: "set", expire: 1}) },
		"set for another owner": func(g *Group) { g.replace("a", g.putNowhere, ByteView{s: "set"}) },
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
			fetches := g.fetches.shard("a")
			fetches.mu.Lock() // stops the write after its first step
			before, _, err := g.loads.join(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			written := make(chan struct{})
			go func() {
				write(g)
				close(written)
			}()
			until(t, "the write has begun", before.fence.Load)

			during, ctx, err := g.loads.join(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			if during.view, during.err = g.load(ctx, "a", during); during.view.s != "old" {
				t.Fatalf("the load found %q, %v: the test is no test", during.view.s, during.err)
			}
			fetches.mu.Unlock()
			<-written

			got := make(chan string, 1)
			go func() {
				v, err := g.View(t.Context(), "a")
				if err != nil {
					t.Error(err)
				}
				got <- v.String()
			}()
			until(t, "the Get has joined or ended", func() bool { return len(got) > 0 || during.waiters() > 1 })
			for _, f := range []*flight{before, during} {
				f.cancel()
				f.land()
			}
			if v := <-got; v != "new" {
				t.Errorf("a Get after the write sees %q", v)
			}
		})
	}
}

func (f *flight) waiters() int {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	return f.waiting
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}

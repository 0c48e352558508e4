package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/trace"
)

// endingTracer ends its goroutine in one of its methods.
type endingTracer struct {
	at   string
	ends *atomic.Bool
}

func (e endingTracer) end(at string) {
	if e.at == at && e.ends.Load() {
		runtime.Goexit()
	}
}

func (e endingTracer) Begin(ctx context.Context, _ trace.Operation) (context.Context, trace.Span) {
	e.end("Begin")
	return ctx, e
}

func (e endingTracer) End(trace.Outcome) { e.end("End") }

func (e endingTracer) Inject(_ context.Context, set func(key, value string)) {
	set("traceparent", "x")
	e.end("Inject")
}

func (e endingTracer) Extract(ctx context.Context, _ func(string) string) context.Context {
	e.end("Extract")
	return ctx
}

// A Tracer that ended its goroutine, as FailNow of a test does, ended one that others waited for:
// Set and Remove never returned, and a removal by prefix that no peer had heard of was said to be
// done. It may end its caller's goroutine, and nobody else's.
func TestATracerThatEndsItsGoroutine(t *testing.T) {
	for _, frames := range []groupcache.Frames{groupcache.FramesAuto, groupcache.FramesOff} {
		for _, at := range []string{"Begin", "End", "Inject", "Extract"} {
			for _, where := range []string{"asker", "owner"} {
				t.Run(fmt.Sprint(where, " ", at, " ", frames), func(t *testing.T) {
					ends := new(atomic.Bool)
					adapt := func(node string) func(o *groupcache.Options) {
						return func(o *groupcache.Options) {
							if o.Frames = frames; node == where {
								o.Trace = endingTracer{at, ends}
							}
						}
					}
					s := newSource()
					owner, asker := startNode(t, s, adapt("owner")), startNode(t, s, adapt("asker"))
					if err := asker.instance.SetPeers(owner.url); err != nil {
						t.Fatal(err)
					}
					eventually(t, "the peer is up", func() bool { return asker.instance.PeersUp() == 1 })
					ends.Store(true)
					for _, ctx := range []context.Context{t.Context(), context.Background()} {
						for name, err := range callAll(ctx, t, asker) {
							if errors.Is(err, errNoReturn) && (where == "owner" || at != "Begin" && at != "End") {
								t.Errorf("%s: %v", name, err)
							}
						}
					}
					ends.Store(false)
					eventually(t, "all is well again", func() bool {
						for _, err := range callAll(t.Context(), t, asker) {
							if err != nil {
								return false
							}
						}
						return true
					})
				})
			}
		}
	}
}

// errNoReturn means that a call has ended its caller's goroutine.
var errNoReturn = errors.New("the caller's goroutine has ended")

// callAll makes a call of each kind, which must end, and returns their errors.
func callAll(ctx context.Context, t *testing.T, asker *node) map[string]error {
	t.Helper()
	all := make(map[string]error)
	for name, call := range map[string]func() error{
		"Get":      func() error { _, err := get(ctx, asker.group, "k"); return err },
		"GetMulti": func() error { _, err := asker.group.GetMulti(ctx, []string{"k", "l"}); return err },
		"Set":      func() error { return asker.group.Set(ctx, "k", []byte("v"), time.Time{}, false) },
		"Remove":   func() error { return asker.group.Remove(ctx, "k") },
		"RemovePrefix": func() error {
			r, err := asker.group.RemovePrefix(ctx, "k")
			if err == nil && len(r.Done) != 1 {
				t.Errorf("no error, and done at %q", r.Done)
			}
			return err
		},
	} {
		ended := make(chan error, 1)
		go func() {
			err := errNoReturn
			defer func() { ended <- err }()
			err = call()
		}()
		select {
		case all[name] = <-ended:
		case <-time.After(longest):
			t.Fatalf("%s has not ended", name)
		}
	}
	return all
}

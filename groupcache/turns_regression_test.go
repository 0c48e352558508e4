package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// A Set went on when its caller had left, and stored its value also after a write that was called
// then had returned.
func TestASetWhoseCallerHasLeftUndoesNoLaterWrite(t *testing.T) {
	type then struct {
		want  string
		write func(ctx context.Context, g *groupcache.Group, key string) error
	}
	thens := map[string]then{
		"Remove": {"loaded", func(ctx context.Context, g *groupcache.Group, key string) error { return g.Remove(ctx, key) }},
		"RemovePrefix": {"loaded", func(ctx context.Context, g *groupcache.Group, key string) error {
			_, err := g.RemovePrefix(ctx, key)
			return err
		}},
		"Set": {"new", func(ctx context.Context, g *groupcache.Group, key string) error {
			return g.Set(ctx, key, []byte("new"), time.Time{}, false)
		}},
	}
	for what, others := range map[string]int{"under way": 0, "waiting for its turn": 64} {
		for name, then := range thens {
			t.Run(what+", then "+name, func(t *testing.T) {
				c := startCluster(t, 2, overHTTP)
				c.source.answer = func(context.Context, string) (string, error) { return "loaded", nil }
				key := c.ownedBy(t, c.nodes[0], "wanted")
				writer := c.nodes[1].group
				held := holdSets(c.nodes[0])
				var all sync.WaitGroup
				for i := range others {
					other := c.ownedBy(t, c.nodes[0], fmt.Sprint(i))
					all.Go(func() {
						if err := writer.Set(t.Context(), other, make([]byte, 3<<10), time.Time{}, false); err != nil {
							t.Error(err)
						}
					})
				}
				held.await(others)
				leaveASet(t, writer, key)
				written := make(chan error, 1)
				go func() { written <- then.write(t.Context(), writer, key) }()
				select {
				case err := <-written:
					written <- err
				case <-time.After(100 * time.Millisecond):
				}
				close(held.until)
				if err := <-written; err != nil {
					t.Error(err)
				}
				all.Wait()
				eventually(t, "all is told", func() bool { return writer.CacheStats(groupcache.MainCache).ActiveSingleFlightRemoves == 0 })
				for _, n := range c.nodes {
					if v, err := get(t.Context(), n.group, key); v != then.want || err != nil {
						t.Errorf("%.10q, %v", v, err)
					}
				}
			})
		}
	}
}

// leaveASet sets a value, and does not wait until it is told.
func leaveASet(t *testing.T, g *groupcache.Group, key string) {
	t.Helper()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := g.Set(short, key, []byte("old"+strings.Repeat(".", 3<<10)), time.Time{}, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Set: %v", err)
	}
}

// held has Sets not arrive until a channel is closed.
type held struct {
	arrived chan struct{}
	until   chan struct{}
}

func holdSets(n *node) held {
	h := held{make(chan struct{}, 1000), make(chan struct{})}
	n.behind(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				h.arrived <- struct{}{}
				<-h.until
			}
			next.ServeHTTP(w, r)
		})
	})
	return h
}

func (h held) await(n int) {
	for range n {
		<-h.arrived
	}
}

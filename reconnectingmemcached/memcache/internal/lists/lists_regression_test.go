package lists_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/fleet"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/history"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/lists"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

type source struct{}

func (source) List(context.Context) ([]string, error) { return []string{"a:1"}, nil }

// TestServersThatAreBeingLearned tells of a process that had just begun. The servers of a former
// list were let go as those that had left, while the list was taken over: they were not asked, and
// writes were not deleted there.
func TestServersThatAreBeingLearned(t *testing.T) {
	const servers = 1000
	f := fleet.New(server.Config{Name: "test"})
	defer f.Close()
	l := lists.New(f, lists.Options{Source: source{}, Interval: time.Second, HandOver: time.Minute, Timeout: time.Second, Hash: placement.Rendezvous})
	l.Adopt([]string{"a:1"})
	former := history.List{Replaced: time.Now()}
	for i := range servers {
		former.Names = append(former.Names, fmt.Sprintf("10.9.%d.%d:11211", i/250, i%250))
	}
	var following sync.WaitGroup
	learned := make(chan struct{})
	following.Go(func() {
		for {
			select {
			case <-learned:
				return
			default:
				l.LetGo()
			}
		}
	})
	l.Learn([]history.List{former})
	close(learned)
	following.Wait()
	if n := l.FormerServers(); n != servers {
		t.Errorf("%d of the former list's %d servers can be asked", n, servers)
	}
}

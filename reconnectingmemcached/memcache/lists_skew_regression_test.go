package memcache_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestTheEndOfAHandOverIsNotThatOfAnother tells of two processes of which one had heard of a change
// three seconds later. For those seconds it still asked the server that had left, when the other
// had let that go and deleted nothing there any more: it got what the other had overwritten, and
// brought it to the owner for all.
func TestTheEndOfAHandOverIsNotThatOfAnother(t *testing.T) {
	t.Parallel()
	const handOver, skew = 20 * time.Second, 3 * time.Second
	synctest.Test(t, func(t *testing.T) {
		f := newFleetOf(t, newZipf(1), 3, testutil.FakeOptions{Meta: true})
		var sources [2]*list
		var clients [2]*memcache.Client
		for i := range clients {
			sources[i] = &list{names: f.first(3)}
			clients[i] = f.newProcess(i, memcache.Options{
				Source: sources[i], SourceInterval: time.Second, HandOver: handOver, Hash: memcache.Rendezvous,
			}).client
			check(t, clients[i].Ping())
		}
		var keys []string
		for i := 0; len(keys) < 100; i++ {
			key := fmt.Sprint("k", i)
			if owner, err := clients[0].Owner(key); err == nil && owner == f.fakes[2].Addr() {
				keys = append(keys, key)
				check(t, clients[0].Set(&memcache.Item{Key: key, Value: []byte("old")}))
			}
		}
		sources[0].set(nil, f.first(2)...)
		time.Sleep(skew)
		sources[1].set(nil, f.first(2)...)
		time.Sleep(skew)
		late := clients[1].ListStats().Since
		if early := clients[0].ListStats().Since; late.Sub(early) < skew/2 {
			t.Fatalf("the processes adopt within %v", late.Sub(early))
		}
		if it, err := clients[1].Get(keys[99]); err != nil || string(it.Value) != "old" {
			t.Errorf("Get = %v, %v: nothing is handed over, so that this shows nothing", it, err)
		}
		for _, key := range keys[:99] {
			if time.Since(late) > handOver+skew {
				break
			}
			time.Sleep(handOver / 50)
			if err := clients[0].Delete(key); err != nil && !errors.Is(err, memcache.ErrCacheMiss) {
				t.Errorf("Delete = %v", err)
			}
			if it, err := clients[1].Get(key); err == nil {
				t.Errorf("%v after the change Get = %q after another's Delete", time.Since(late), it.Value)
			}
		}
		for _, c := range clients {
			check(t, c.Close())
		}
	})
}

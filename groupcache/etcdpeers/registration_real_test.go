package etcdpeers_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"

	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

func TestStartWithoutEtcd(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	check(t, e.Kill())
	began := time.Now()
	n := start(t, e.Addr(), a)
	if took := time.Since(began); took > patience {
		t.Errorf("Watch returned after %v", took)
	}
	if s := n.Stats(); s.Err == nil || s.Connected || s.Registered || len(n.instance.told()) != 0 {
		t.Errorf("%+v, told %q", s, n.instance.told())
	}
	check(t, e.Restart())
	n.awaitPeers(t, a)
	n.awaitGood(t)
}

func TestWatchObeysItsContext(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	check(t, e.Hang())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	o := etcdpeers.Options{Self: a, Endpoints: []string{e.Addr()}, TTL: 10 * time.Minute, Timeout: 3 * time.Minute}
	i := &instance{}
	began := time.Now()
	w, err := etcdpeers.Watch(ctx, i, service, o)
	check(t, err)
	if took := time.Since(began); took > patience {
		t.Errorf("Watch returned after %v", took)
	}
	check(t, e.Release())
	eventually(t, "it goes on after ctx", func() bool { return len(i.told()) == 1 })
	check(t, w.Close())
}

func TestCloseWithoutEtcd(t *testing.T) {
	for what, misfortune := range map[string]func(*testutil.Etcd) error{"killed": (*testutil.Etcd).Kill, "hung": (*testutil.Etcd).Hang} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			e := testutil.StartEtcd(t)
			n := start(t, e.Addr(), a, func(o *etcdpeers.Options) { o.TTL = time.Minute; o.Timeout = 500 * time.Millisecond })
			n.awaitGood(t)
			check(t, misfortune(e))
			began := time.Now()
			err := n.Close()
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("Close took %v", took)
			}
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "deregister") {
				t.Errorf("Close() = %v", err)
			}
			if again := n.Close(); again == nil {
				t.Error("the second Close knows of no error")
			}
		})
	}
}

func TestRegistrationIsRestored(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	client := connect(t, e.Addr())
	register(t, client, b)
	n := start(t, e.Addr(), a)
	n.awaitGood(t)
	n.awaitPeers(t, a, b)
	key := service + "/" + a
	calm := func() { time.Sleep(500 * time.Millisecond) } // else the look at what came before would do
	calm()
	remove(t, client, key)
	eventually(t, "put again", func() bool { return stored(t, client, key) == value(a) })
	calm()
	put(t, client, key, value(b))
	eventually(t, "put again over another address", func() bool { return stored(t, client, key) == value(a) })
	put(t, client, key, value(a)) // as a process would that has taken over
	eventually(t, "counted", func() bool { return n.Stats().Registrations == 3 })
	time.Sleep(ttl)
	if s := n.Stats(); s.Registrations != 3 || !s.Registered {
		t.Errorf("%+v", s)
	}
	check(t, n.Close())
	if stored(t, client, key) == "" {
		t.Error("Close has removed the registration of another process")
	}
	n.neverLacked(t, a, b)
}

func TestPeersAreHeldWhenTheOwnRegistrationVanishes(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	client := connect(t, e.Addr())
	register(t, client, b)
	n := start(t, e.Addr(), a)
	n.awaitGood(t)
	n.awaitPeers(t, a, b)
	removed := time.Now()
	_, err := client.Delete(t.Context(), service+"/", clientv3.WithPrefix())
	check(t, err)
	n.awaitPeers(t, a)
	if held := time.Since(removed); held < ttl {
		t.Errorf("dropped after %v", held)
	}
	if s := n.Stats(); s.Registrations != 2 {
		t.Errorf("%+v", s)
	}
}

func TestABurstIsOneChange(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	client := connect(t, e.Addr())
	register(t, client, a)
	w := start(t, e.Addr(), "", func(o *etcdpeers.Options) { o.Debounce = 3 * time.Second; o.TTL = time.Minute })
	w.awaitPeers(t, a)
	eventually(t, "watches", func() bool { return w.Stats().Connected })
	for i := range 50 {
		register(t, client, fmt.Sprintf("10.0.1.%d:8080", i))
	}
	eventually(t, "told", func() bool { return len(w.instance.last()) == 51 })
	if got := len(w.instance.told()); got != 2 {
		t.Errorf("told %d times", got)
	}
	if s := w.Stats(); s.Changes != 2 {
		t.Errorf("%+v", s)
	}
}

func TestOriginalsAndWeSeeEachOther(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	client := connect(t, e.Addr())
	original, err := endpoints.NewManager(client, service)
	check(t, err)
	updates, err := original.NewWatchChannel(t.Context())
	check(t, err)
	n := start(t, e.Addr(), a)
	update := <-updates
	var drain sync.WaitGroup
	drain.Go(func() {
		for range updates { // else it waits for ever
		}
	})
	t.Cleanup(drain.Wait)
	if len(update) != 1 || update[0].Op != endpoints.Add || update[0].Key != service+"/"+a || update[0].Endpoint.Addr != a {
		t.Errorf("it is told %+v", update)
	}
	check(t, original.AddEndpoint(t.Context(), service+"/"+b, endpoints.Endpoint{Addr: b, Metadata: map[string]int{"weight": 1}}))
	n.awaitPeers(t, a, b)
	list, err := original.List(t.Context())
	check(t, err)
	if len(list) != 2 || list[service+"/"+a].Addr != a {
		t.Errorf("it lists %+v", list)
	}
	check(t, original.DeleteEndpoint(t.Context(), service+"/"+b))
	n.awaitPeers(t, a)
}

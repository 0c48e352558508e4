package workload_test

import (
	"math"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

func shape() workload.Shape {
	return workload.Shape{Seed: 1, Rate: 1000, Keys: 1000, Zipf: 1.1, Updates: .1}
}

func TestASeedFixesTheArrivals(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	one, same := workload.NewStream(shape()), workload.NewStream(shape())
	other := shape()
	other.Seed = 2
	different := workload.NewStream(other)
	const n = 20_000
	var equal, updates, popular int
	for i := range n {
		a := one.Next(start)
		if b := same.Next(start); a != b {
			t.Fatalf("arrival %d: %+v and %+v from the same seed", i, a, b)
		}
		if c := different.Next(start); c.Key == a.Key && c.Update == a.Update {
			equal++
		}
		if want := start.Add(time.Duration(i) * time.Millisecond); !a.At.Equal(want) {
			t.Fatalf("arrival %d at %v, want %v", i, a.At, want)
		}
		if a.Key < 0 || a.Key >= shape().Keys {
			t.Fatalf("arrival %d is for key %d of %d", i, a.Key, shape().Keys)
		}
		updates += map[bool]int{true: 1}[a.Update]
		popular += map[bool]int{true: 1}[a.Key < 10]
	}
	if equal > n/3 {
		t.Errorf("%d of %d arrivals are the same for another seed", equal, n)
	}
	if share := float64(updates) / n; math.Abs(share-.1) > .01 {
		t.Errorf("%.3f of the arrivals are updates, want 0.1", share)
	}
	if share := float64(popular) / n; share < .3 || share > .7 {
		t.Errorf("%.2f of the arrivals are for the ten most popular keys, want about half", share)
	}
}

func TestKeysGoToTheServersThatTheClientsChoose(t *testing.T) {
	const servers = 3
	keys, owners, err := workload.Keys("run", 500, servers, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	list := new(memcache.ServerList)
	addrs := []string{"10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211"}
	if err := list.SetServers(addrs...); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, side := range keys {
		for rank, key := range side {
			addr, err := list.PickServer(key)
			if err != nil || addr.String() != addrs[owners[rank]] {
				t.Fatalf("%q is owned by %v (%v), want %s", key, addr, err, addrs[owners[rank]])
			}
			if seen[key] || key[:len(workload.Prefix)] != workload.Prefix {
				t.Fatalf("key %q is not new, or lacks the prefix", key)
			}
			seen[key] = true
		}
	}
	sum := 0.0
	for i, share := range workload.Shares(workload.Shape{Seed: 1, Rate: 1, Keys: 500, Zipf: 1.1}, owners, servers) {
		if sum += share; share < .2 || share > .5 {
			t.Errorf("server %d gets %.2f of the reads, want about a third", i, share)
		}
	}
	if math.Abs(sum-1) > 1e-6 {
		t.Errorf("the shares add up to %v", sum)
	}
}

func TestTheOracleCountsTheLoadsThatCannotBeAvoided(t *testing.T) {
	o := workload.NewOracle([]int{0, 0, 1}, 2, []bool{true, false, true})
	read := func(key int, want bool, when string) {
		t.Helper()
		if got := o.Read(key); got != want {
			t.Errorf("%s: a read of key %d needs a load: %t, want %t", when, key, got, want)
		}
	}
	read(0, false, "stored")
	read(1, true, "not stored")
	read(1, false, "stored by the read before")
	o.Update(1)
	read(1, true, "changed")
	o.Down(0)
	read(0, true, "server down")
	read(0, true, "server still down")
	read(2, false, "the other server is up")
	o.Up(0)
	read(0, true, "loaded while down, so the server may have an older value")
	read(0, false, "stored again")
	read(1, false, "not touched while down")
	o.Emptied(0)
	read(1, true, "emptied")
	read(2, false, "the other server was not emptied")
}

package sentinel_test

import (
	"testing"
	"testing/synctest"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// Servers and sentinels list each connection by the client's name, and those that can by the
// library's. A server that does not know of the latter is served all the same.
func TestConnectionsSayWhoseTheyAre(t *testing.T) {
	for what, o := range map[string]sentinel.Options{"named": {ClientName: "shop-7"}, "nameless": {}} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { connectionsSayWhoseTheyAre(t, o) })
		})
	}
}

func connectionsSayWhoseTheyAre(t *testing.T, o sentinel.Options) {
	t.Helper()
	cluster := redis.StartFakeCluster(t, redis.FakeClusterOptions{})
	wires := &taps{dial: cluster.Net.Dial}
	o.Names, o.Server.Dial, o.Sentinel.Dial = []string{name}, wires.Dial, wires.Dial
	c, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := set(t.Context(), c, "a", "1"); err != nil {
		t.Error(err)
	}
	synctest.Wait()
	count := func(said string) int { return wires.each(said, func(*tap) {}) }
	all := count("")
	if o.ClientName == "" {
		all = 0
	}
	for _, said := range []string{"SETNAME\r\n$6\r\nshop-7\r\n", "SETINFO\r\n$8\r\nLIB-NAME\r\n$8\r\nholdfast\r\n"} {
		if n := count(said); n != all {
			t.Errorf("%q is said on %d connections, want %d", said, n, all)
		}
	}
}

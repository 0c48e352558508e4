package redis_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// listen subscribes to all events of a sentinel.
func listen(t *testing.T, c *redis.FakeCluster, i int) *redis.Conn {
	t.Helper()
	conn := dialTest(t, c.Net, c.SentinelAddrs()[i])
	check(t, conn.Send("PSUBSCRIBE", "*"))
	if got := receive(t, conn); got != "[psubscribe * 1]" {
		t.Fatal(got)
	}
	return conn
}

func TestFakeClusterGoesThroughAFailoverStepByStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := redis.StartFakeCluster(t, redis.FakeClusterOptions{Name: "x"})
		old, replica := c.Primary(), c.Replicas()[1]
		leader, other := c.Sentinels[0], c.Sentinels[2]
		atLeader, atOther := listen(t, c, 0), listen(t, c, 2)
		client := dialTest(t, c.Net, old.Addr())
		want(t, client, "OK", "SET", "k", "v")
		time.Sleep(time.Second)

		oldWords, newWords := strings.ReplaceAll(old.Addr(), ":", " "), strings.ReplaceAll(replica.Addr(), ":", " ")
		instance := fmt.Sprintf("slave %s %s @ x %s", replica.Addr(), newWords, oldWords)
		c.Select(replica, leader)
		if got := receive(t, atLeader); got != "[pmessage * +selected-slave "+instance+"]" {
			t.Errorf("selected: %s", got)
		}
		if !silent(t, atOther, time.Second) || replica.Role().Primary {
			t.Error("only the leader has selected, and nothing has happened yet")
		}
		c.Promote(replica)
		if !replica.Role().Primary || !old.Role().Primary || c.Primary() != replica {
			t.Error("after the promotion both are primaries")
		}
		want(t, client, "OK", "SET", "k", "lost")
		want(t, dialTest(t, c.Net, replica.Addr()), "v", "GET", "k")
		c.Confirm(leader)
		if got := receive(t, atLeader); got != "[pmessage * +promoted-slave "+instance+"]" {
			t.Errorf("confirmed: %s", got)
		}
		if w, ok := leader.Watched("x"); !ok || w.Primary != old.Addr() || w.Epoch != 1 {
			t.Errorf("before the announcement the leader knows %+v", w)
		}
		c.Announce(other)
		if got := receive(t, atOther); got != fmt.Sprintf("[pmessage * +switch-master x %s %s]", oldWords, newWords) {
			t.Errorf("announced: %s", got)
		}
		c.Announce()
		c.Announce()
		replicas := func(atSentinel *redis.Conn) {
			for range 2 {
				if got := receive(t, atSentinel); !strings.Contains(got, "+slave slave ") || !strings.HasSuffix(got, "@ x "+newWords+"]") {
					t.Errorf("the new primary's replicas: %s", got)
				}
			}
		}
		replicas(atOther)
		got := receive(t, atLeader)
		replicas(atLeader)
		if !strings.Contains(got, "+switch-master") || !silent(t, atLeader, time.Second) || !silent(t, atOther, time.Second) {
			t.Errorf("each sentinel announces once; the leader: %s", got)
		}
		for _, s := range c.Sentinels {
			if w, ok := s.Watched("x"); !ok || w.Primary != replica.Addr() || w.Epoch != 1 || len(w.Replicas) != 2 || len(w.Sentinels) != 2 {
				t.Errorf("afterwards a sentinel knows %+v", w)
			}
		}
		c.Demote(old)
		if got := receive(t, client); got != "error: EOF" {
			t.Errorf("a client of the demoted primary is told %q", got)
		}
		wantCode(t, dialTest(t, c.Net, old.Addr()), "READONLY", "SET", "k", "v")
		c.Failover(old)
		if role := replica.Role(); c.Primary() != old || role.Primary || role.Of != old.Addr() {
			t.Errorf("after a second failover: %+v", role)
		}
	})
}

func TestFakeSentinelSaysWhatItIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T, network *redis.FakeNet) {
		s := network.Sentinel(redis.FakeSentinelOptions{Password: "pw"})
		s.Watch("a", redis.Watched{
			Primary: "[2001:db8::1]:7000", Epoch: 5, Flags: "master,o_down", Quorum: 4,
			Replicas:  []redis.WatchedReplica{{Addr: "10.0.0.7:1", Flags: "slave,s_down", Link: "err", Priority: -1, Offset: 9, Of: "10.0.0.8:2"}},
			Sentinels: []redis.WatchedSentinel{{Addr: "10.0.0.9:3", Flags: "s_down,sentinel"}},
		})
		c := dialTest(t, network, s.Addr())
		wantCode(t, c, "NOAUTH", "SENTINEL", "MASTERS")
		want(t, c, "OK", "AUTH", "pw")
		for command, expected := range map[string][]string{
			"MASTER a":    {"ip 2001:db8::1 port 7000", "flags o_down,master", "config-epoch 5 num-slaves 1 num-other-sentinels 1 quorum 4"},
			"REPLICAS a":  {"ip 10.0.0.7 port 1", "flags s_down,slave", "master-link-status err master-host 10.0.0.8 master-port 2 slave-priority 0 slave-repl-offset 9"},
			"SENTINELS a": {"ip 10.0.0.9 port 3", "flags s_down,sentinel"},
		} {
			reply, err := c.Do(t.Context(), append([]string{"SENTINEL"}, strings.Fields(command)...)...)
			check(t, err)
			for _, text := range expected {
				if !strings.Contains(fmt.Sprint(reply), text) {
					t.Errorf("%s: %v, want %q", command, reply, text)
				}
			}
		}
		wantCode(t, c, "NOQUORUM", "SENTINEL", "CKQUORUM", "a")
		wantCode(t, c, "NOGOODSLAVE", "SENTINEL", "FAILOVER", "a")
		s.Update("a", func(w *redis.Watched) { w.Primary = "10.0.0.1:1" })
		s.Update("b", func(w *redis.Watched) { w.Primary = "10.0.0.1:1" })
		check(t, s.Restart())
		c = dialTest(t, network, s.Addr())
		want(t, c, "OK", "AUTH", "pw")
		if got := answer(t, c, "SENTINEL GET-MASTER-ADDR-BY-NAME a"); got != `[]interface {}{"10.0.0.1", "1"}` {
			t.Errorf("after a restart: %s", got)
		}
		s.Forget("a")
		if got := answer(t, c, "SENTINEL MASTERS"); got != "[]interface {}{}" {
			t.Errorf("it has forgotten, and says %s", got)
		}
	})
}

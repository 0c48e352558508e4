package sentinel_test

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	v2 "github.com/holdfast-go/holdfast/sentinel/radixv2/redis"
	"github.com/holdfast-go/holdfast/sentinel/radixv2/sentinel"
)

const name = "mymaster"

func startCluster(t *testing.T) *redis.Cluster {
	t.Helper()
	return redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, Password: "secret"})
}

func connect(t *testing.T, cluster *redis.Cluster) *session {
	t.Helper()
	s, err := openSession(strings.Join(cluster.SentinelAddrs(), ","), "secret", 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The programs of sessions_test.go are as users of the original write them. They must compile, and
// do what they did.
func TestProgramsOfTheOriginal(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t)
	s := connect(t, cluster)
	must(t, s.save("42", map[string]string{"user": "alice", "cart": "3"}))
	if got, err := s.load("42"); err != nil || got["user"] != "alice" || got["cart"] != "3" {
		t.Errorf("load: %v, %v", got, err)
	}
	if _, err := s.load("nobody"); !errors.Is(err, errNoSession) {
		t.Errorf("load of none: %v", err)
	}
	for range 3 {
		must(t, s.count("42"))
	}
	if n, err := s.visits("42"); n != 3 || err != nil {
		t.Errorf("visits: %d, %v", n, err)
	}
	if n, err := s.visits("nobody"); n != 0 || err != nil {
		t.Errorf("visits of none: %d, %v", n, err)
	}
	for i := range 50 {
		must(t, s.save(fmt.Sprint("scan", i), map[string]string{"user": "bob"}))
	}
	keys, err := s.keys("session:scan*")
	sort.Strings(keys)
	if err != nil || len(keys) != 50 {
		t.Errorf("keys: %d, %v", len(keys), err)
	}
	if again, err := s.keysByHand("session:scan*"); err != nil || len(again) != 50 {
		t.Errorf("keys, by hand: %d, %v", len(again), err)
	}
	if moved, err := s.transfer("42", "43"); err != nil || !moved {
		t.Errorf("transfer: %v, %v", moved, err)
	}
	if entries, err := s.log("43", "moved", "from 42"); err != nil || entries != "moved=from 42" {
		t.Errorf("log: %q, %v", entries, err)
	}
	if got, err := s.script("x", 7); got != 14 || err != nil {
		t.Errorf("script: %d, %v", got, err)
	}
	if got := s.describe(); got != `Resp(Resp(Str "PONG") Resp(Int 5) Resp(Nil) Resp(Resp(Str "a")))` {
		t.Errorf("describe: %s", got)
	}
}

// All that a connection does is in the database that the DialFunc has selected.
func TestTheDialFuncSelects(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t)
	s := connect(t, cluster)
	must(t, s.save("42", map[string]string{"user": "alice"}))
	server, err := cluster.Primary(t.Context(), name)
	must(t, err)
	keyspace, err := server.Do(t.Context(), "INFO", "keyspace")
	if text := fmt.Sprintf("%s", keyspace); err != nil || !strings.Contains(text, "db2:") || strings.Contains(text, "db0:") {
		t.Errorf("the server has %q, %v", text, err)
	}
	_, err = openSession(cluster.SentinelAddrs()[0], "wrong", 0)
	if err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("with a wrong password: %v", err)
	}
}

func TestConsumersWaitAsLongAsTheySay(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t)
	s := connect(t, cluster)
	began := time.Now()
	if job, err := s.next("jobs", 6); job != "" || err != nil || time.Since(began) < 5*time.Second {
		t.Errorf("after %v: %q, %v", time.Since(began), job, err)
	}
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if job, err := s.next("jobs", 60); job != "paint" || err != nil {
			t.Errorf("%q, %v", job, err)
		}
	})
	must(t, s.push("jobs", "paint"))
	waiting.Wait()
}

func TestSubscribersOfTheOriginal(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t)
	s := connect(t, cluster)
	got := make(chan string, 10)
	stop, err := s.listen(got, "news", "weather")
	must(t, err)
	must(t, s.publish("weather", "rain"))
	if m := <-got; m != "weather: rain" {
		t.Errorf("received %q", m)
	}
	stop()
}

// CarefullyPutMaster keeps a connection after an error that the server replied, and closes it after
// another.
func TestConnectionsArePutBackWithCare(t *testing.T) {
	t.Parallel()
	s := connect(t, startCluster(t))
	kept := func(potential error) int {
		conn, err := s.client.GetMaster(name)
		must(t, err)
		replied := conn.Cmd("WATCH").Err
		must(t, conn.Cmd("WATCH", "x").Err)
		must(t, conn.Cmd("UNWATCH").Err)
		if potential == nil {
			potential = replied
		}
		s.client.CarefullyPutMaster(name, conn, &potential)
		return s.client.Holdfast().Stats().Primaries[name].PrivateConns
	}
	if n := kept(nil); n != 1 {
		t.Errorf("%d connections after a reply", n)
	}
	if n := kept(errors.New("the program's")); n != 0 {
		t.Errorf("%d connections after another error", n)
	}
}

// A connection that is in use when the primary changes fails, and the next one leads to the new
// one.
func TestProgramsFollowAFailover(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t)
	s := connect(t, cluster)
	must(t, s.save("42", map[string]string{"user": "alice"}))
	must(t, s.replicated())
	held, err := s.client.GetMaster(name)
	must(t, err)
	must(t, held.Cmd("WATCH", "x").Err)
	old, err := cluster.Primary(t.Context(), name)
	must(t, err)
	must(t, cluster.Failover(t.Context(), name))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := cluster.AwaitPrimary(ctx, name, old); err != nil {
		t.Fatal(err)
	}
	for s.save("43", map[string]string{"user": "bob"}) != nil && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if got, err := s.load("42"); err != nil || got["user"] != "alice" {
		t.Errorf("after the failover: %v, %v", got, err)
	}
	for held.Addr == "" && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if r := held.Cmd("GET", "x"); !isCritical(r) || held.LastCritical == nil {
		t.Errorf("a connection to the old primary: %v, %v", r, held.LastCritical)
	}
	s.client.PutMaster(name, held)
}

// What the DialFunc's connection may take is what each call may take.
func TestTheTimeoutOfTheDialFunc(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true})
	client, err := sentinel.NewClientCustom("tcp", cluster.SentinelAddrs()[0], 2, func(network, addr string) (*v2.Client, error) {
		return v2.DialTimeout(network, addr, 300*time.Millisecond)
	}, name)
	must(t, err)
	defer client.Close()
	conn, err := client.GetMaster(name)
	must(t, err)
	defer client.PutMaster(name, conn)
	if r := conn.Cmd("BLPOP", "nothing", 20); !v2.IsTimeout(r) || conn.LastCritical == nil {
		t.Errorf("BLPOP: %v", r)
	}
	if _, err := client.GetMaster("nobody"); err == nil {
		t.Error("a name that is not followed")
	}
	if client.Holdfast().Stats().Dials == 0 {
		t.Error("no dials")
	}
	for _, df := range []sentinel.DialFunc{
		func(string, string) (*v2.Client, error) { panic("no") },
		func(string, string) (*v2.Client, error) { return nil, nil },
	} {
		if _, err := sentinel.NewClientCustom("tcp", cluster.SentinelAddrs()[0], 2, df, name); err == nil || !strings.Contains(err.Error(), "DialFunc") {
			t.Errorf("a DialFunc that does not work: %v", err)
		}
	}
}
